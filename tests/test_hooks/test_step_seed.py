"""What is drawn in a resumed run is what is drawn in one that was not interrupted."""

import shutil
from pathlib import Path

import pytest
import torch

from ..kills.comparison import differences, read
from .test_safe_checkpoint import Killed, _as_in_a_new_process, train  # noqa: F401

TWO = {'train_cfg.max_epochs': 2}


def weights(work_dir: Path, epoch: int) -> dict[str, torch.Tensor]:
    checkpoint = read(work_dir / f'epoch_{epoch}.pth')
    return {**checkpoint['state_dict'], **checkpoint.get('distiller', {})}


def same(one: dict[str, torch.Tensor], other: dict[str, torch.Tensor]) -> bool:
    assert one.keys() == other.keys()
    return all(torch.equal(value, other[name]) for name, value in one.items())


@pytest.mark.parametrize(
    'kind', ['offline', 'accumulated', pytest.param('workers', marks=pytest.mark.slow)]
)
def test_a_run_that_is_killed_ends_as_one_that_is_not(tmp_path, kind):
    moments = train(kind, tmp_path, tmp_path / 'straight', **TWO)
    with pytest.raises(Killed):
        train(kind, tmp_path, tmp_path / 'killed', moments // 2, **TWO)
    train(kind, tmp_path, tmp_path / 'killed', **TWO)
    assert differences(tmp_path / 'killed', tmp_path / 'straight') == []


@pytest.fixture
def first_epoch(tmp_path) -> Path:
    train('mixup', tmp_path, tmp_path / 'run', **{'train_cfg.max_epochs': 1})
    return tmp_path / 'run'


def test_an_evaluation_does_not_change_what_is_drawn(tmp_path):
    train('mixup', tmp_path, tmp_path / 'one', **TWO)
    train('mixup', tmp_path, tmp_path / 'two', **TWO, **{'train_cfg.val_interval': 2})
    assert same(weights(tmp_path / 'one', 2), weights(tmp_path / 'two', 2))


def test_another_seed_draws_differently(tmp_path, first_epoch):
    train('mixup', tmp_path, tmp_path / 'two', **{'train_cfg.max_epochs': 1, 'randomness.seed': 1})
    assert not same(weights(first_epoch, 1), weights(tmp_path / 'two', 1))


def test_a_drawn_seed_is_the_one_of_the_resumed_run(tmp_path):
    drawn = {'randomness.seed': None}
    train('mixup', tmp_path, tmp_path / 'one', **{'train_cfg.max_epochs': 1}, **drawn)
    shutil.copytree(tmp_path / 'one', tmp_path / 'two')
    for name in ('one', 'two'):
        train('mixup', tmp_path, tmp_path / name, **TWO, **drawn)
    assert same(weights(tmp_path / 'one', 2), weights(tmp_path / 'two', 2))


def test_a_checkpoint_of_an_earlier_version_resumes(tmp_path, first_epoch):
    straight = shutil.copytree(first_epoch, tmp_path / 'straight')
    train('mixup', tmp_path, straight, **TWO)
    path = first_epoch / 'epoch_1.pth'
    checkpoint = read(path)
    for name in ('sampler_seed', 'batches_per_epoch'):
        del checkpoint['meta'][name]
    for name in ('evaluated_iter', 'outdated_checkpoints'):
        for part in ('runtime_info', 'resumed_keys'):
            checkpoint['message_hub'][part].pop(name, None)
    torch.save(checkpoint, path)
    train('mixup', tmp_path, first_epoch, **TWO)
    assert same(weights(first_epoch, 2), weights(straight, 2))
