"""Benchmarks take ``--device``, and one script runs them all."""

import os
import re
import subprocess
from pathlib import Path

import pytest
import torch

ROOT = Path(__file__).resolve().parents[2]
SCRIPT = ROOT / 'tools' / 'benchmark' / 'gpu.sh'
# Those of the CPU, and the command mmmuse table.
OTHERS = {'freed_memory', 'startup', 'table'}
BENCHMARKS = sorted(path.stem for path in SCRIPT.parent.glob('*.py') if path.stem not in OTHERS)
ARGUMENTS = {'locations': ['configs/narrow/narrow-resnet18_cifar100_mi_x_si.py', 'missing.pth']}

# A stand-in for the interpreter: notes its arguments; data_path fails and estimators never ends.
PYTHON = """#!/usr/bin/env bash
printf '%s\\n' "$CUDA_VISIBLE_DEVICES|$*" >> "$CALLS"
case $1 in
  */data_path.py) echo 'error: no data'; exit 1 ;;
  */estimators.py) exec sleep 60 ;;
esac
"""


@pytest.mark.parametrize('name', BENCHMARKS)
@pytest.mark.parametrize(
    ('device', 'said'),
    [
        ('tpu', '--device is cpu, cuda or cuda:INDEX, got tpu'),
        ('cuda:', '--device is cpu, cuda or cuda:INDEX, got cuda:'),
        ('cuda:99', '--device cuda:99 does not exist; this machine has '),
    ],
)
def test_a_device_that_does_not_exist_is_refused_before_anything_runs(
    tool, only_error, name, device, said
):
    line = only_error(tool(f'benchmark/{name}.py', *ARGUMENTS.get(name, []), '--device', device))
    assert said in line


@pytest.mark.skipif(torch.cuda.is_available(), reason='there is a GPU')
def test_without_a_gpu_cuda_is_refused(tool, only_error):
    line = only_error(tool('benchmark/step_time.py', '--device', 'cuda'))
    assert '--device cuda does not exist; this machine has 0 GPUs' in line


@pytest.fixture
def run_all(tmp_path):
    """A function that runs the script with the stand-in; estimators may take one second."""
    python = tmp_path / 'python'
    python.write_text(PYTHON)
    python.chmod(0o755)
    quick = tmp_path / 'tools' / 'benchmark' / 'gpu.sh'
    quick.parent.mkdir(parents=True)
    quick.write_text(re.sub(r'(benchmark estimators) \d+', r'\1 1', SCRIPT.read_text()))
    calls = tmp_path / 'calls'

    def run(*arguments: str, visible: str = '') -> tuple[subprocess.CompletedProcess, list[str]]:
        environment = {**os.environ, 'PYTHON': str(python), 'CALLS': str(calls)}
        environment['CUDA_VISIBLE_DEVICES'] = visible
        done = subprocess.run(
            ['bash', quick, *arguments],
            env=environment,
            cwd=tmp_path,
            capture_output=True,
            text=True,
        )
        return done, calls.read_text().splitlines() if calls.exists() else []

    return run


def test_the_script_runs_every_benchmark_on_the_device(run_all):
    _, calls = run_all('out', 'cuda:1')
    assert {Path(call.split()[0].partition('|')[2]).stem for call in calls} == {
        *BENCHMARKS,
        'table',
        'train',
    }
    assert all(call.startswith('1|') for call in calls)
    assert all('--device cuda ' in call for call in calls if 'train.py' not in call)


def test_an_index_counts_the_visible_gpus(run_all):
    _, calls = run_all('out', 'cuda:1', visible='2,GPU-5')
    assert {call.partition('|')[0] for call in calls} == {'GPU-5'}
    done, more = run_all('other', 'cuda:2', visible='2,GPU-5')
    assert done.returncode != 0
    assert 'there are 2 visible GPUs' in done.stderr
    assert more == calls


def test_a_failure_and_a_time_limit_do_not_stop_the_others(run_all, tmp_path):
    done, calls = run_all('out')
    assert done.returncode == 1
    lines = (tmp_path / 'out' / 'summary.txt').read_text().splitlines()
    assert len(lines) == len(calls)
    states = {line.split()[0]: line.split(' s  ', 1)[1] for line in lines}
    assert states.pop('data_path') == 'failed, see data_path.txt'
    assert states.pop('estimators') == 'stopped after 1 s'
    assert set(states.values()) == {'done'}
    assert (tmp_path / 'out' / 'data_path.txt').read_text() == 'error: no data\n'


def test_the_time_limits_are_ten_minutes_together():
    limits = re.findall(r'^(?:run|benchmark) \w+ (\d+) ', SCRIPT.read_text(), re.MULTILINE)
    assert sum(int(limit) for limit in limits) <= 600
    assert len(limits) == len(BENCHMARKS) + 3  # step_time twice, a training, a table.


def test_a_folder_that_exists_is_not_written_into(run_all, tmp_path):
    (tmp_path / 'out').mkdir()
    done, calls = run_all('out')
    assert done.returncode == 1
    assert 'exists' in done.stderr
    assert calls == []
