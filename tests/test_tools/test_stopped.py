"""Trainings that a signal, a full disk or a removed folder ends: one line, and no process is left."""

import errno
import os
import resource
import shutil
import signal
import time
from pathlib import Path

import pytest
from mmengine.hooks import Hook

from mmmuse.registry import HOOKS

from ..forks import Fork, mmmuse
from ..kills.comparison import read
from .conftest import ROOT
from .test_train import DISTILLED, SHORT

WORKERS = ['train_dataloader.num_workers=2', 'val_dataloader.num_workers=1']
LONG = [*SHORT, *WORKERS, 'train_cfg.max_epochs=500', 'default_hooks.checkpoint.max_keep_ckpts=2']


def train_in_background(said: Path, *args: object) -> Fork:
    """Train as a command that a terminal starts, in a process group of its own."""

    def train() -> None:
        os.setsid()
        mmmuse('train', *args)()

    with said.open('w') as file:
        process = Fork(train, file.fileno(), file.fileno())
        process.start()
    return process


def children_of(process: int) -> list[int]:
    return [
        int(child) for child in Path(f'/proc/{process}/task/{process}/children').read_text().split()
    ]


def wait_until(condition, seconds: float = 60.0) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.05)


def is_alive(process: int) -> bool:
    try:
        state = Path(f'/proc/{process}/stat').read_text()
    except OSError:
        return False
    return state.rpartition(')')[2].split()[0] != 'Z'


def stopped(config: object, work_dir: Path, number: int, group: bool) -> tuple[int, list[str]]:
    """Train, send a signal after the first checkpoint, and return the exit code and the lines."""
    said = work_dir.with_suffix('.log')
    process = train_in_background(said, config, '--work-dir', work_dir, '--cfg-options', *LONG)
    wait_until(lambda: (work_dir / 'last_checkpoint').exists() or not process.is_alive(), 200)
    assert process.is_alive(), said.read_text()
    wait_until(lambda: len(children_of(process.pid)) >= 2)
    workers = children_of(process.pid)
    (os.killpg if group else os.kill)(process.pid, number)
    process.join(60)
    wait_until(lambda: not any(map(is_alive, workers)), 10)
    return process.exitcode, said.read_text().splitlines()


@pytest.mark.parametrize(
    ('number', 'group', 'code'), [(signal.SIGTERM, False, 143), (signal.SIGHUP, True, 129)]
)
def test_a_signal_ends_training_with_one_line_and_without_workers(tmp_path, number, group, code):
    found, lines = stopped(DISTILLED, tmp_path / 'run', number, group)
    assert found == code, lines[-30:]
    assert lines[-1].startswith('interrupted; --resume goes on')
    assert not [line for line in lines if line.startswith(('Traceback', 'error'))]
    assert not list((tmp_path / 'run').glob('.*'))


def test_a_preempted_training_saves_its_step_though_the_signal_reaches_its_workers(tmp_path):
    config = tmp_path / 'config.py'
    config.write_text(
        f"_base_ = {str(ROOT / DISTILLED)!r}\ncustom_hooks = [dict(type='mmmuse.PreemptionHook')]\n"
    )
    code, lines = stopped(config, tmp_path / 'run', signal.SIGTERM, group=True)
    assert code == 143, lines[-30:]
    assert not [line for line in lines if line.startswith(('Traceback', 'error'))]
    last = Path((tmp_path / 'run' / 'last_checkpoint').read_text())
    # If the epoch was being evaluated, its checkpoint is sufficient.
    assert last.name == 'preempted.pth' or lines[-1].startswith('interrupted')
    assert 'optimizer' in read(last)


@HOOKS.register_module(force=True)
class StopGroup(Hook):
    """Sends the process group a signal in the evaluation after the second epoch."""

    def before_val_iter(self, runner, batch_idx, data_batch=None) -> None:
        if runner.epoch == 2 and batch_idx == 0:
            os.killpg(0, signal.SIGTERM)


def test_a_preempted_evaluation_is_finished_and_saved_though_the_signal_reaches_its_workers(
    tmp_path,
):
    config = tmp_path / 'config.py'
    config.write_text(
        f'_base_ = {str(ROOT / DISTILLED)!r}\n'
        "custom_hooks = [dict(type='mmmuse.PreemptionHook'), dict(type='mmmuse.StopGroup')]\n"
    )
    said, work_dir = tmp_path / 'log', tmp_path / 'run'
    # Several batches, of which the worker has not read the last ones when the signal arrives.
    options = [*LONG, 'default_hooks.checkpoint.interval=100', 'val_dataloader.batch_size=2']
    process = train_in_background(said, config, '--work-dir', work_dir, '--cfg-options', *options)
    process.join(200)
    assert process.exitcode == 143, said.read_text()
    last = Path((work_dir / 'last_checkpoint').read_text())
    assert last.name == 'preempted.pth'
    assert read(last)['meta']['epoch'] == 2


@pytest.fixture
def trained(tool, tmp_path) -> Path:
    """The work dir of one epoch."""
    work_dir = tmp_path / 'run'
    options = [*SHORT, 'train_cfg.max_epochs=1']
    finished = tool('train.py', DISTILLED, '--work-dir', work_dir, '--cfg-options', *options)
    assert finished.code == 0, finished.err
    return work_dir


def test_a_disk_without_room_for_a_checkpoint_is_one_line_and_the_last_one_stays(
    tool, only_error, trained
):
    before = {path.name: path.read_bytes() for path in trained.glob('*.pth')}
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    # Less than a checkpoint, more than two logs: a run that starts in the second of the one before writes into its file.
    resource.setrlimit(resource.RLIMIT_FSIZE, (1_000_000, limits[1]))
    try:
        flags = ('--work-dir', trained, '--resume', '--cfg-options', *SHORT)
        finished = tool('train.py', DISTILLED, *flags)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    line = only_error(finished)
    assert f'cannot write {trained}/epoch_2.pth: {os.strerror(errno.EFBIG)}' in line
    assert {path.name: path.read_bytes() for path in trained.glob('*.pth')} == before
    assert not list(trained.glob('.*'))


def test_a_read_only_work_dir_is_one_line(tool, only_error, tmp_path, monkeypatch):
    def refuse(path, *args, **kwargs):
        raise OSError(errno.EROFS, os.strerror(errno.EROFS), str(path))

    monkeypatch.setattr(os, 'makedirs', refuse)
    flags = ('--work-dir', tmp_path / 'run', '--cfg-options', *SHORT)
    line = only_error(tool('train.py', DISTILLED, *flags))
    assert line == f'error: cannot write {tmp_path}/run: Read-only file system'


@HOOKS.register_module()
class RemoveWorkDir(Hook):
    """Removes the work dir in the second step."""

    def before_train_iter(self, runner, batch_idx, data_batch=None) -> None:
        if batch_idx == 1:
            shutil.rmtree(runner.work_dir)


def test_a_work_dir_that_is_removed_while_it_trains_is_one_line(tool, only_error, tmp_path):
    config = tmp_path / 'config.py'
    config.write_text(
        f"_base_ = {str(ROOT / DISTILLED)!r}\ncustom_hooks = [dict(type='mmmuse.RemoveWorkDir')]\n"
    )
    flags = ('--work-dir', tmp_path / 'run', '--cfg-options', *SHORT)
    line = only_error(tool('train.py', config, *flags))
    assert line.startswith(f'error: no such file: {tmp_path}/run/')
