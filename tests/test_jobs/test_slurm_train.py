"""tools/slurm_train.sh has the arguments and variables of OpenMMLab's."""

import os
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from .fake_slurm import calls, fake_slurm

ROOT = Path(__file__).resolve().parents[2]
CONFIG = 'configs/demo/resnet18_digits.py'


def slurm_train(*arguments: object, path: str, **variables: str) -> subprocess.CompletedProcess:
    environment = {key: value for key, value in os.environ.items() if 'GPUS' not in key}
    return subprocess.run(
        ['tools/slurm_train.sh', *map(str, arguments)],
        cwd=ROOT,
        env={**environment, 'PATH': path, **variables},
        capture_output=True,
        text=True,
    )


@pytest.mark.parametrize(
    ('variables', 'tasks'),
    [
        ({}, '--gres=gpu:8 --ntasks=8 --ntasks-per-node=8 --cpus-per-task=5'),
        ({'GPUS': '16'}, '--gres=gpu:8 --ntasks=16 --ntasks-per-node=8 --cpus-per-task=5'),
        (
            {'GPUS': '4', 'GPUS_PER_NODE': '2', 'CPUS_PER_TASK': '9'},
            '--gres=gpu:2 --ntasks=4 --ntasks-per-node=2 --cpus-per-task=9',
        ),
        # Of one node, no more than are asked for.
        ({'GPUS': '1'}, '--gres=gpu:1 --ntasks=1 --ntasks-per-node=1 --cpus-per-task=5'),
    ],
)
def test_srun_is_asked_for_what_the_variables_say(tmp_path, variables, tasks):
    path = fake_slurm(tmp_path / 'bin')
    more = {'SRUN_ARGS': '--qos=low --time=30', **variables}
    finished = slurm_train(
        'gpu', 'a job', CONFIG, 'runs', '--amp', path=f'{path}:/usr/bin:/bin', **more
    )
    assert finished.returncode == 0, finished.stderr
    assert calls(path) == [
        f'srun --partition=gpu --job-name=a job {tasks} --kill-on-bad-exit=1 --qos=low --time=30 '
        f'python -u tools/train.py {CONFIG} --work-dir runs --launcher slurm --amp'
    ]


@pytest.mark.parametrize('arguments', [(), ('gpu',), ('gpu', 'job'), ('gpu', 'job', CONFIG)])
def test_a_missing_argument_is_the_usage(tmp_path, arguments):
    path = fake_slurm(tmp_path / 'bin')
    finished = slurm_train(*arguments, path=f'{path}:/usr/bin:/bin')
    assert finished.returncode != 0
    assert 'usage: slurm_train.sh PARTITION JOB_NAME CONFIG WORK_DIR' in finished.stderr
    assert calls(path) == []


def test_a_missing_srun_is_one_line(tmp_path):
    (tmp_path / 'bin').mkdir()
    for name in ('bash', 'env'):
        program = next(folder for folder in ('/bin', '/usr/bin') if Path(folder, name).exists())
        (tmp_path / 'bin' / name).symlink_to(Path(program, name))
    finished = slurm_train('gpu', 'job', CONFIG, 'runs', path=str(tmp_path / 'bin'))
    assert finished.returncode == 1
    assert finished.stderr.startswith('error: srun not found')


@pytest.mark.usefixtures('slurm')
def test_a_run_is_trained_on_a_node_of_a_real_slurm(tmp_path):
    path = f'{Path(sys.executable).parent}{os.pathsep}{os.environ["PATH"]}'
    options = ['train_dataloader.dataset.indices=64', 'val_dataloader.dataset.indices=50']
    options += ['train_dataloader.batch_size=32', 'train_cfg.max_epochs=1']
    finished = slurm_train(
        *('main', 'a job', CONFIG, tmp_path / 'run', '--cfg-options', *options),
        path=path,
        GPUS='0',
        CPUS_PER_TASK='1',
        SRUN_ARGS=shlex.join(['--time=10']),
    )
    assert finished.returncode == 0, finished.stderr
    assert (tmp_path / 'run' / 'epoch_1.pth').is_file()


@pytest.mark.usefixtures('slurm')
def test_processes_of_slurm_without_gpus_end_with_one_line(tmp_path):
    path = f'{Path(sys.executable).parent}{os.pathsep}{os.environ["PATH"]}'
    finished = slurm_train(
        *('main', 'job', CONFIG, tmp_path / 'run', '--launcher', 'slurm'),
        path=path,
        GPUS='0',
        CPUS_PER_TASK='1',
    )
    assert finished.returncode != 0
    (line,) = (line for line in finished.stderr.splitlines() if line.startswith('error: '))
    assert '--launcher slurm gives each process a GPU, and this machine has none' in line
    assert not (tmp_path / 'run').exists()
