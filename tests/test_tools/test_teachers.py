"""Offline and online distillation by the command lines, on the digits that scikit-learn ships."""

import shutil
from pathlib import Path
from unittest import mock

import pytest
import torch
from mmpretrain import get_model

from mmmuse.datasets import digits
from mmmuse.registry import MODELS

from ..test_distillers.transfer import TAPS, network
from .conftest import ROOT

DIGITS = ROOT / 'configs' / 'demo' / 'resnet18_digits.py'
SHORT = [
    'train_dataloader.dataset.indices=128',
    'val_dataloader.dataset.indices=60',
    'test_dataloader.dataset.indices=60',
    'train_cfg.max_epochs=1',
    'param_scheduler.T_max=1',
    'default_hooks.logger.interval=1',
]
KD = dict(type='mmmuse.KDLoss', temperature=4)
CRD = dict(type='mmmuse.CRDLoss', embed_channels=8, num_negatives=16)


def small(width: int) -> dict:
    return {**network(width, num_classes=10, in_channels=1), '_scope_': 'mmpretrain'}


def write_config(folder: Path, **model: object) -> Path:
    path = folder / 'config.py'
    lines = [f'_base_ = {str(DIGITS)!r}', f'model = dict(_delete_=True, **{model!r})']
    if 'peers' in model:
        lines.append(
            "val_evaluator = [dict(type='mmmuse.PeerMetric', metric=dict(type='Accuracy'))]"
        )
        lines.append('test_evaluator = val_evaluator')
    path.write_text('\n'.join(lines) + '\n')
    return path


@pytest.fixture
def offline(tmp_path) -> Path:
    """A config whose teacher is given by files in the same folder."""
    (tmp_path / 'teacher.py').write_text(
        f'_base_ = {str(DIGITS)!r}\nmodel = dict(_delete_=True, **{small(6)!r})\n'
    )
    torch.save(MODELS.build(small(6)).state_dict(), tmp_path / 'teacher.pth')
    return write_config(
        tmp_path,
        type='mmmuse.OfflineDistiller',
        student=small(4),
        teacher='teacher.py',
        teacher_checkpoint=str(tmp_path / 'teacher.pth'),
        taps=TAPS,
        losses=[KD, CRD],
    )


@pytest.fixture
def online(tmp_path) -> Path:
    peers = {
        name: dict(model=small(width), taps=TAPS) for name, width in (('big', 6), ('small', 4))
    }
    return write_config(tmp_path, type='mmmuse.OnlineDistiller', peers=peers, losses=[KD])


def test_a_student_is_trained_resumed_and_tested_by_its_plain_config(offline, tool, tmp_path):
    run = tmp_path / 'run'
    flags = ['--work-dir', run, '--cfg-options', *SHORT]
    assert tool('train.py', offline, *flags).code == 0
    more = [*flags, 'train_cfg.max_epochs=2']
    finished = tool('train.py', offline, '--resume', *more)
    assert finished.code == 0
    assert 'Epoch(train) [2]' in finished.out + finished.err
    plain = tmp_path / 'plain.py'
    plain.write_text(f'_base_ = {str(DIGITS)!r}\nmodel = dict(_delete_=True, **{small(4)!r})\n')
    flags = ['--work-dir', tmp_path / 'test', '--cfg-options', SHORT[2]]
    assert tool('test.py', plain, run / 'epoch_2.pth', *flags).code == 0
    # The dumped config is self-contained: there is no teacher.py in its folder.
    dumped = tmp_path / 'elsewhere' / 'config.py'
    dumped.parent.mkdir()
    shutil.copy(run / 'config.py', dumped)
    assert (
        tool('train.py', dumped, '--work-dir', tmp_path / 'again', '--cfg-options', *SHORT).code
        == 0
    )


def test_a_run_takes_a_cache_in_place_of_the_teacher(
    offline, tool, only_error, tmp_path, lines_of_progress
):
    cache = tmp_path / 'cache'
    command = ['analysis/cache_teacher.py', offline, '--out', cache, '--views', 2]
    finished = tool(*command, '--cfg-options', SHORT[0])
    assert finished.code == 0
    assert '2 views of 128 images' in finished.out
    (size,) = [line for line in finished.err.splitlines() if 'KiB' in line]
    assert size.endswith('2 views of 128 images, 34 KiB: logits 10 float32, vector 24 float32'), (
        size
    )
    assert 'running the teacher: 128 of 256, about ' in finished.err
    assert 'running the teacher: ' not in finished.out
    assert tool(*command, '--cfg-options', SHORT[0]).code == 0  # It is complete.
    assert 'other data or other settings' in only_error(tool(*command))
    views = ['data_preprocessor.fixed_views=2', 'data_preprocessor.seed=0']
    options = [*SHORT, f'model.teacher_cache={cache}', 'model.teacher_checkpoint=None', *views]
    flags = ['--work-dir', tmp_path / 'run', '--cfg-options']
    assert tool('train.py', offline, *flags, *options).code == 0
    other = [*options, 'train_dataloader.dataset.indices=64']
    said = only_error(
        tool('train.py', offline, '--work-dir', tmp_path / 'x', '--cfg-options', *other)
    )
    assert 'is of another training set' in said
    images, *rest = digits._digits()
    with mock.patch('mmmuse.datasets.digits._digits', return_value=(240 - images, *rest)):
        said = only_error(
            tool('train.py', offline, '--work-dir', tmp_path / 'x', '--cfg-options', *options)
        )
    assert 'another training set: the labels are the same and the images differ' in said
    assert not (tmp_path / 'x').exists()


@pytest.mark.parametrize(
    ('damage', 'said'),
    [
        (lambda path: path.unlink(), 'no checkpoint file'),
        (
            lambda path: path.write_bytes(path.read_bytes()[:2000]),
            'is truncated or not a checkpoint',
        ),
        (
            lambda path: torch.save(MODELS.build(small(4)).state_dict(), path),
            'backbone.bn1.running_var (',
        ),
        (lambda path: torch.save(dict(state_dict={}, run=Path('x')), path), '--trust-checkpoint'),
    ],
)
def test_a_bad_teacher_is_one_line_and_nothing_is_written(
    damage, said, offline, tool, only_error, tmp_path
):
    damage(tmp_path / 'teacher.pth')
    run = tmp_path / 'run'
    line = only_error(tool('train.py', offline, '--work-dir', run, '--cfg-options', *SHORT))
    assert f'teacher_checkpoint {tmp_path / "teacher.pth"}' in line
    assert said in line
    assert not run.exists()


def test_a_trusted_teacher_is_loaded(offline, tool, tmp_path):
    weights = torch.load(tmp_path / 'teacher.pth')
    torch.save(dict(state_dict=weights, run=Path('x')), tmp_path / 'teacher.pth')
    flags = ['--work-dir', tmp_path / 'run', '--trust-checkpoint', '--cfg-options', *SHORT]
    assert tool('train.py', offline, *flags).code == 0


def test_each_peer_is_evaluated_saved_and_exported_alone(online, tool, only_error, tmp_path):
    run = tmp_path / 'run'
    finished = tool('train.py', online, '--work-dir', run, '--cfg-options', *SHORT)
    assert finished.code == 0
    for name in ('average', 'big', 'small'):
        assert f'{name}/accuracy/top1' in finished.out + finished.err
    for file in ('epoch_1.pth', 'epoch_1.small.pth'):
        out = tmp_path / f'from_{file}'
        exported = tool('export.py', online, run / file, '--peer', 'small', '--out', out)
        assert exported.code == 0, exported.err
        peer = get_model(str(out / 'config.py'), pretrained=str(out / 'checkpoint.pth'))
        weights = torch.load(run / 'epoch_1.small.pth', weights_only=False)['state_dict']
        for name, value in peer.state_dict().items():
            assert torch.equal(value, weights[name])
        assert 'mmmuse.' not in (out / 'config.py').read_text()
    export = ['export.py', online, run / 'epoch_1.pth', '--out', tmp_path / 'no']
    said = only_error(tool(*export, '--peer', 'c'))
    assert "unknown peer 'c'; available: big, small" in said
    said = only_error(
        tool('export.py', online, run / 'epoch_1.big.pth', '--peer', 'small', *export[3:])
    )
    assert "holds only peer 'big', not 'small'" in said


def test_one_peer_alone_is_refused(tool, only_error, tmp_path):
    config = write_config(
        tmp_path,
        type='mmmuse.OnlineDistiller',
        peers=dict(a=dict(model=small(4), taps=TAPS)),
        losses=[KD],
    )
    said = only_error(tool('train.py', config, '--work-dir', tmp_path / 'run'))
    assert 'needs at least two peers, got a' in said
