import os
import signal
import sys
import threading
import time
from pathlib import Path

import pytest
import torch

from mmmuse.errors import InputError
from mmmuse.tables import Row, Run, run_all
from mmmuse.tables.record import code_version, log_of
from mmmuse.tables.slots import check_devices, environment

# Stands in for tools/train.py: says which process it is and what it sees, logs its epochs and ends
# as the config's name says.
TRAIN = """
import json, os, pathlib, sys, time
config, _, work_dir = sys.argv[1:4]
if config == 'broken':
    sys.exit('error: nothing reads this')
log = pathlib.Path(work_dir) / str(os.getpid()) / 'vis_data'
log.mkdir(parents=True)
print(os.environ['OMP_NUM_THREADS'], repr(os.environ['CUDA_VISIBLE_DEVICES']))
start = time.time()
try:
    with (log / 'scalars.json').open('w') as file:
        for epoch in (1, 2):
            time.sleep(60 if config == 'slow' else 0.3)
            file.write(json.dumps({'accuracy/top1': epoch, 'step': epoch}) + '\\n')
            file.flush()
except KeyboardInterrupt:
    time.sleep(0.5)
    (pathlib.Path(work_dir) / 'interrupted').touch()
    sys.exit(130)
(pathlib.Path(work_dir) / 'times').write_text(f'{start} {time.time()}')
if config == 'bad':
    print('error: a config that cannot be run')
    sys.exit(1)
"""


@pytest.fixture
def train(tmp_path: Path) -> list[str]:
    path = tmp_path / 'train.py'
    path.write_text(TRAIN)
    return [sys.executable, str(path)]


def runs_of(folder: Path, *configs: str) -> list[Run]:
    return [
        Run(Row(f'{config}{i}', config), 0, folder / f'{config}{i}' / 'seed0', 2, {})
        for i, config in enumerate(configs)
    ]


def times(run: Run) -> tuple[float, float]:
    start, end = (run.work_dir / 'times').read_text().split()
    return float(start), float(end)


def test_two_slots_take_two_runs_at_a_time_and_share_the_processor(tmp_path, train):
    runs, done = runs_of(tmp_path, 'good', 'good', 'good'), []
    failed = run_all(runs, ['cpu', 'cpu'], train, lambda run, device: done.append(run))
    assert failed == {}
    assert sorted(run.name for run in done) == [run.name for run in runs]
    (_, end), (other, _), (third, _) = map(times, runs)
    assert other < end  # Side by side.
    assert third > min(end, times(runs[1])[1])
    threads = max(len(os.sched_getaffinity(0)) // 2, 1)
    commit, said = log_of(runs[0]).read_text().splitlines()
    assert commit == f'commit: {code_version()}'
    assert said == f"{threads} ''"


def test_a_run_that_fails_is_reported_and_the_others_go_on(tmp_path, train):
    runs, done = runs_of(tmp_path, 'bad', 'good'), []
    failed = run_all(runs, ['cpu'], train, lambda run, device: done.append(run))
    assert [run.name for run in done] == ['good1, seed 0']
    assert list(failed) == ['bad0, seed 0']
    assert failed['bad0, seed 0'].startswith('a config that cannot be run (see ')


def test_a_row_that_cannot_be_trained_is_not_tried_with_its_other_seeds(tmp_path, train):
    row = Row('broken', 'broken')
    runs = [Run(row, seed, tmp_path / f'seed{seed}', 2, {}) for seed in (0, 1)]
    runs += runs_of(tmp_path, 'good')
    done = []
    failed = run_all(runs, ['cpu'], train, lambda run, device: done.append(run))
    assert [run.name for run in done] == ['good0, seed 0']
    assert failed['broken, seed 1'] == 'skipped: broken, seed 0 failed'


def test_a_run_that_ends_without_its_metrics_has_failed(tmp_path, train):
    def finished(run: Run, device: str) -> None:
        raise InputError('no metrics')

    runs = runs_of(tmp_path, 'good')
    assert run_all(runs, ['cpu'], train, finished) == {'good0, seed 0': 'no metrics'}


@pytest.fixture
def _ctrl_c():
    """Ctrl-C as in the foreground: in the background the shell has it ignored."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.mark.usefixtures('_ctrl_c')
def test_ctrl_c_interrupts_every_run_and_waits_for_all_even_if_it_comes_twice(tmp_path, train):
    runs = runs_of(tmp_path, 'slow', 'slow')

    def when_it_runs() -> None:
        while not all(list(run.work_dir.glob('*/vis_data/scalars.json')) for run in runs):
            time.sleep(0.05)
        os.kill(os.getpid(), signal.SIGINT)
        time.sleep(0.2)  # An impatient second time, while the runs are ending.
        os.kill(os.getpid(), signal.SIGINT)

    threading.Thread(target=when_it_runs).start()
    with pytest.raises(KeyboardInterrupt):
        run_all(runs, ['cpu', 'cpu'], train, lambda run, device: None)
    assert all((run.work_dir / 'interrupted').exists() for run in runs)


def test_a_run_sees_its_own_gpu_alone(monkeypatch):
    monkeypatch.setattr(torch.cuda, 'device_count', lambda: 2)
    monkeypatch.delenv('CUDA_VISIBLE_DEVICES', raising=False)
    assert check_devices(None) == ['cuda:0', 'cuda:1']
    assert check_devices(['cuda', 'cuda:1']) == ['cuda:0', 'cuda:1']
    assert environment('cuda:1', ['cuda:0', 'cuda:1'])['CUDA_VISIBLE_DEVICES'] == '1'
    monkeypatch.setenv('CUDA_VISIBLE_DEVICES', '5, 3')
    assert environment('cuda:1', ['cuda:1'])['CUDA_VISIBLE_DEVICES'] == '3'
    with pytest.raises(InputError, match="unknown device 'cuda:2'; available: cpu, cuda:0, cuda:1"):
        check_devices(['cuda:2'])


def test_the_processor_is_what_is_left_without_a_gpu(monkeypatch):
    monkeypatch.setattr(torch.cuda, 'device_count', lambda: 0)
    assert check_devices(None) == ['cpu']
    assert environment('cpu', ['cpu'])['CUDA_VISIBLE_DEVICES'] == ''
