"""Runs that crash wherever they write files, and are resumed in the same process."""

import errno
import os
from pathlib import Path

import pytest
from mmengine.hooks import CheckpointHook
from mmengine.logging import MessageHub, MMLogger
from mmengine.registry import DefaultScope
from mmengine.visualization import Visualizer

from mmmuse.errors import InputError
from mmmuse.hooks import SafeCheckpointHook

from ..kills.comparison import differences, files, read
from ..kills.crash_points import crash_points
from ..kills.runs import EPOCHS, start


class Killed(BaseException):
    """Ends a run as a kill does."""


def kill() -> None:
    raise Killed


@pytest.fixture(autouse=True)
def _as_in_a_new_process(monkeypatch):
    # A killed process does not remove what it was writing.
    monkeypatch.setattr(Path, 'unlink', unlink_unless_killed)
    yield
    forget()


def forget() -> None:
    for kind in (MMLogger, MessageHub, Visualizer, DefaultScope):
        kind._instance_dict.clear()


def unlink_unless_killed(path: Path, missing_ok: bool = False, original=Path.unlink) -> None:
    if not (path.name.endswith('.unfinished') and os.environ.get('KILLED')):
        original(path, missing_ok=missing_ok)


def train(kind: str, folder: Path, work_dir: Path, at: int = 0, **changes) -> int:
    """Train from the last checkpoint, until a moment; return the number of moments."""
    seen = [0]

    def end() -> None:
        os.environ['KILLED'] = '1'
        kill()

    try:
        with crash_points(at, end, seen.append):
            start(kind, folder, work_dir, **changes)
    finally:
        os.environ.pop('KILLED', None)
        forget()
    return seen[-1]


@pytest.fixture(scope='module')
def straight(tmp_path_factory) -> tuple[Path, int]:
    """The work dir of a run that nothing interrupts, and the number of its moments."""
    folder = tmp_path_factory.mktemp('straight')
    return folder / 'run', train('self', folder, folder / 'run')


def test_a_run_keeps_its_last_checkpoint_and_its_best(straight):
    names = files(straight[0])
    assert {'epoch_3.pth', 'last_checkpoint'} < names
    assert len(names) == 3
    assert (straight[0] / 'last_checkpoint').read_text() == str(straight[0] / 'epoch_3.pth')


@pytest.mark.parametrize('part', range(3))
def test_a_run_that_is_killed_while_it_writes_ends_as_one_that_is_not(straight, tmp_path, part):
    expected, moments = straight
    at = 1 + (part * moments) // 3 + part  # In the first, the second and the third epoch.
    with pytest.raises(Killed):
        train('self', tmp_path, tmp_path / 'run', at)
    left = [read(path) for path in (tmp_path / 'run').glob('*.pth')]  # Every one can be read.
    assert part == 0 or any('optimizer' in checkpoint for checkpoint in left)
    train('self', tmp_path, tmp_path / 'run')
    assert differences(tmp_path / 'run', expected) == []


def test_the_files_of_peers_are_complete_with_their_checkpoint(tmp_path):
    short = {'train_cfg.max_epochs': 2, 'train_dataloader.dataset.indices': 8}
    moments = train('online', tmp_path, tmp_path / 'straight', **short)
    work_dir = tmp_path / 'killed'
    for at in (moments // 4, moments // 2):  # The second one counts from the resumption on.
        with pytest.raises(Killed):
            train('online', tmp_path, work_dir, at, **short)
        names = files(work_dir)
        for name in [name for name in names if name.count('.') == 1 and name.endswith('.pth')]:
            assert {name.replace('.pth', f'.{peer}.pth') for peer in 'ab'} <= names
    train('online', tmp_path, work_dir, **short)
    assert differences(work_dir, tmp_path / 'straight') == []


@pytest.mark.parametrize('number', [errno.ENOSPC, errno.EROFS])
def test_a_full_disk_ends_a_run_with_one_line_and_leaves_the_last_checkpoint(
    tmp_path, monkeypatch, number
):
    work_dir = tmp_path / 'run'
    train('self', tmp_path, work_dir, **{'train_cfg.max_epochs': 1})
    before = {path.name: path.read_bytes() for path in work_dir.glob('*.pth')}

    def refuse(*args):
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(os, 'fsync', refuse)
    with pytest.raises(
        InputError, match=rf'cannot write .*(student\.py|epoch_2\.pth): {os.strerror(number)}'
    ):
        start('self', tmp_path, work_dir)
    assert {path.name: path.read_bytes() for path in work_dir.glob('*.pth')} == before
    assert (work_dir / 'last_checkpoint').read_text() == str(work_dir / 'epoch_1.pth')


def test_a_moved_run_leaves_the_files_of_the_former_folder_alone(straight, tmp_path):
    former, _ = straight
    before = {path.name: path.read_bytes() for path in former.glob('*.pth')}
    changes = {'load_from': str(former / 'epoch_3.pth'), 'train_cfg.max_epochs': EPOCHS + 2}
    train('self', tmp_path, tmp_path / 'moved', **changes)
    assert {path.name: path.read_bytes() for path in former.glob('*.pth')} == before
    assert 'epoch_5.pth' in files(tmp_path / 'moved')


def test_the_id_of_a_run_is_that_of_all_its_starts(tmp_path):
    def run_id(work_dir: Path, epoch: int) -> str:
        return read(work_dir / f'epoch_{epoch}.pth')['message_hub']['runtime_info']['run_id']

    short = {'train_dataloader.dataset.indices': 8, 'default_hooks.checkpoint.max_keep_ckpts': -1}
    train('self', tmp_path, tmp_path / 'run', **short, **{'train_cfg.max_epochs': 1})
    train('self', tmp_path, tmp_path / 'run', **short, **{'train_cfg.max_epochs': 2})
    first = run_id(tmp_path / 'run', 1)
    assert run_id(tmp_path / 'run', 2) == first
    again = {**short, 'train_cfg.max_epochs': 1, 'resume': False}
    train('self', tmp_path, tmp_path / 'run', **again)
    assert run_id(tmp_path / 'run', 1) != first


def test_mmengines_hook_in_a_config_becomes_the_safe_one():
    hook = CheckpointHook(interval=2, save_best='accuracy/top1')
    hook.__class__ = SafeCheckpointHook
    assert (hook.interval, hook.save_best) == (2, ['accuracy/top1'])
    assert isinstance(hook, CheckpointHook)


def test_two_checkpoint_hooks_are_refused(tmp_path):
    second = dict(type='mmmuse.SafeCheckpointHook')
    with pytest.raises(InputError, match=r'2 checkpoint hooks: change default_hooks\.checkpoint'):
        start('self', tmp_path, tmp_path / 'run', custom_hooks=[second])
