import os
import shutil
from pathlib import Path

import pytest
import torch
from mmengine.config import Config

from mmmuse.command_line.checkpoint import check_before_loading
from mmmuse.errors import InputError

RESUMABLE = dict(
    message_hub=dict(log_scalars={}, runtime_info={}, resumed_keys={}),
    optimizer=dict(state={}, param_groups=[]),
)


def checkpoint(path: Path, step: int, resumable: bool = True, run: str | None = None) -> Path:
    content = dict(meta=dict(epoch=step, iter=step), state_dict=dict(weight=torch.ones(100)))
    if resumable:
        content.update(RESUMABLE)
    if run is not None:
        hub = RESUMABLE['message_hub']
        content['message_hub'] = {**hub, 'runtime_info': dict(run_id=run)}
    path.parent.mkdir(parents=True, exist_ok=True)
    torch.save(content, path)
    return path


def chosen(work_dir: Path, **more) -> str | None:
    config = Config(dict(work_dir=str(work_dir), resume=True, load_from=None, **more))
    path = check_before_loading(config, trust=False)
    assert config.load_from is None  # A dumped config is to choose again.
    return path and Path(path).name


@pytest.fixture
def work_dir(tmp_path) -> Path:
    """The work dir of nine and ten steps, with a best checkpoint."""
    folder = tmp_path / 'run'
    for step in (10, 9):  # The newest file is not the one written last.
        checkpoint(folder / f'epoch_{step}.pth', step)
    checkpoint(folder / 'best_top1_epoch_10.pth', 10, resumable=False)
    (folder / 'last_checkpoint').write_text(str(folder / 'epoch_10.pth'))
    return folder


def test_the_checkpoint_that_mmengine_names_is_chosen_without_a_word(work_dir, capsys):
    assert chosen(work_dir) == 'epoch_10.pth'
    assert capsys.readouterr().err == ''


@pytest.mark.parametrize(
    ('text', 'told'),
    [
        (None, 'no file'),
        ('', 'no file'),
        ('{work_dir}/epoch_9.pth', '{work_dir}/epoch_9.pth'),
        ('{work_dir}/epoch_8.pth', '{work_dir}/epoch_8.pth'),
        ('/elsewhere/epoch_10.pth', '/elsewhere/epoch_10.pth, of another folder'),
        ('a\0b', 'no file'),
    ],
)
def test_a_last_checkpoint_that_is_wrong_costs_nothing_and_is_told(work_dir, capsys, text, told):
    (work_dir / 'last_checkpoint').unlink()
    if text is not None:
        (work_dir / 'last_checkpoint').write_text(text.format(work_dir=work_dir))
    assert chosen(work_dir) == 'epoch_10.pth'
    assert capsys.readouterr().err == (
        f'resuming from {work_dir}/epoch_10.pth, the newest checkpoint that can be resumed '
        f'(last_checkpoint names {told.format(work_dir=work_dir)})\n'
    )


@pytest.mark.parametrize('former', [None, 'a'])
@pytest.mark.parametrize('named', [True, False])
def test_a_run_that_was_in_the_folder_before_is_not_gone_on_from(tmp_path, capsys, former, named):
    # It had three epochs; another one was started and killed after its first.
    work_dir = tmp_path / 'run'
    for step in (2, 3):
        checkpoint(work_dir / f'epoch_{step}.pth', step, run=former)
    for path in work_dir.iterdir():
        os.utime(path, (1, 1))
    checkpoint(work_dir / 'epoch_1.pth', 1, run='b')
    if named:
        (work_dir / 'last_checkpoint').write_text(str(work_dir / 'epoch_1.pth'))
    assert chosen(work_dir) == 'epoch_1.pth'
    assert 'epoch_3' not in capsys.readouterr().err


def test_a_checkpoint_that_is_refused_does_not_lead_to_a_former_run(tmp_path):
    work_dir = tmp_path / 'run'
    former = checkpoint(work_dir / 'epoch_3.pth', 3, run='a')
    os.utime(former, (1, 1))
    checkpoint(work_dir / 'epoch_7.pth', 7, run='b')
    with pytest.raises(
        InputError, match=r'no checkpoint in .* can be resumed: .*the run ends at 5'
    ):
        chosen(work_dir, train_cfg=dict(max_epochs=5))


def test_the_weights_of_a_config_start_a_run_that_has_nothing_to_resume(tmp_path, work_dir):
    weights = str(checkpoint(tmp_path / 'weights.pth', 5, resumable=False))
    new = Config(dict(work_dir=str(tmp_path / 'new'), resume=True, load_from=None))
    assert check_before_loading(new, trust=False, weights=weights) is None
    assert (new.resume, new.load_from) == (False, weights)
    old = Config(dict(work_dir=str(work_dir), resume=True, load_from=None))
    path = check_before_loading(old, trust=False, weights=weights)
    assert (Path(path).name, old.resume, old.load_from) == ('epoch_10.pth', True, None)
    missing = Config(dict(work_dir=str(tmp_path / 'new'), resume=True, load_from=None))
    with pytest.raises(InputError, match='no checkpoint file'):
        check_before_loading(missing, trust=False, weights=str(tmp_path / 'missing.pth'))


def test_binary_content_of_last_checkpoint_costs_nothing(work_dir):
    (work_dir / 'last_checkpoint').write_bytes(b'\xff\xfe\x80')
    assert chosen(work_dir) == 'epoch_10.pth'


@pytest.mark.parametrize('kept', [0, 30, 0.5, 0.95])
def test_a_damaged_checkpoint_is_passed_over_and_told(work_dir, capsys, kept):
    path = work_dir / 'epoch_10.pth'
    content = path.read_bytes()
    path.write_bytes(content[: kept if isinstance(kept, int) else int(kept * len(content))])
    assert chosen(work_dir) == 'epoch_9.pth'
    (line,) = capsys.readouterr().err.splitlines()
    assert f'{path} is truncated' in line


def test_a_checkpoint_with_a_damaged_tensor_is_passed_over(work_dir):
    path = work_dir / 'epoch_10.pth'
    content = path.read_bytes()
    ones = torch.ones(100).numpy().tobytes()
    assert content.count(ones) == 1
    path.write_bytes(content.replace(ones, ones[:-4] + b'\1\2\3\4'))
    assert chosen(work_dir) == 'epoch_9.pth'


def test_a_moved_run_is_resumed_from_its_own_files(work_dir, tmp_path, capsys):
    shutil.copytree(work_dir, tmp_path / 'copy')
    assert chosen(tmp_path / 'copy') == 'epoch_10.pth'
    assert f'resuming from {tmp_path}/copy/epoch_10.pth' in capsys.readouterr().err


def test_weights_without_an_optimizer_are_not_resumed(work_dir, capsys):
    for step in (9, 10):
        (work_dir / f'epoch_{step}.pth').unlink()
    assert chosen(work_dir) is None
    assert capsys.readouterr().err == (
        f'no checkpoint in {work_dir} can be resumed: training starts from the beginning\n'
    )


def test_a_run_with_damaged_checkpoints_alone_is_not_started_again(work_dir):
    for step in (9, 10):
        (work_dir / f'epoch_{step}.pth').write_bytes(b'PK')
    with pytest.raises(
        InputError, match=r'can be resumed: .* is truncated .*; to start from the beg'
    ):
        chosen(work_dir)


@pytest.mark.parametrize(
    ('change', 'said'),
    [
        (dict(optimizer=None), 'its optimizer is a NoneType'),
        (dict(meta=dict(epoch=-5, iter=3)), 'its epoch is -5'),
        (dict(meta=dict(epoch=3, iter=float('nan'))), 'its iter is nan'),
        (dict(meta={}), 'its epoch is None'),
        (dict(message_hub={}), 'its message_hub has no log_scalars'),
        (dict(meta=dict(epoch=10**9, iter=3)), 'the run ends at 20'),
    ],
)
def test_a_checkpoint_that_cannot_be_resumed_from_is_told_and_the_run_is_not_started_again(
    work_dir, capsys, change, said
):
    path = work_dir / 'epoch_10.pth'
    torch.save(torch.load(path) | change, path)
    loop = dict(max_epochs=20)
    assert chosen(work_dir, train_cfg=loop) == 'epoch_9.pth'
    assert said in capsys.readouterr().err
    (work_dir / 'epoch_9.pth').unlink()
    with pytest.raises(InputError, match=f'no checkpoint in .* can be resumed: .*{said}'):
        chosen(work_dir, train_cfg=loop)


def test_other_files_in_the_work_dir_do_not_take_part(work_dir, capsys):
    checkpoint(work_dir / 'teacher.pth', 99)
    checkpoint(work_dir / 'epoch_11.a.pth', 99)
    (work_dir / 'notes.pth').write_bytes(b'PK')
    assert chosen(work_dir) == 'epoch_10.pth'
    assert capsys.readouterr().err == ''


def test_a_new_work_dir_starts_without_a_word(tmp_path, capsys):
    assert chosen(tmp_path / 'new') is None
    assert capsys.readouterr().err == ''


def test_checkpoints_in_the_hooks_own_folder_and_of_its_own_name_are_found(tmp_path):
    hook = dict(type='CheckpointHook', out_dir=str(tmp_path / 'out'), filename_tmpl='step{}.pt')
    checkpoint(tmp_path / 'out' / 'run' / 'step3.pt', 3)
    assert chosen(tmp_path / 'run', default_hooks=dict(checkpoint=hook)) == 'step3.pt'


def test_a_former_file_format_is_read(tmp_path):
    weights = dict(weight=torch.ones(2))
    content = dict(meta=dict(epoch=1, iter=1), state_dict=weights, **RESUMABLE)
    tmp_path.joinpath('run').mkdir()
    torch.save(content, tmp_path / 'run' / 'epoch_1.pth', _use_new_zipfile_serialization=False)
    assert chosen(tmp_path / 'run') == 'epoch_1.pth'


def test_a_file_that_is_named_is_the_one_that_is_resumed(work_dir):
    path = str(work_dir / 'epoch_9.pth')
    config = Config(dict(work_dir=str(work_dir), resume=True, load_from=path))
    check_before_loading(config, trust=False)
    assert config.load_from == path
