"""Weights that versions before the two weights saved load; ``old_checkpoint.py`` writes them."""

import json
from pathlib import Path

import pytest
import torch
from mmengine.model import ExponentialMovingAverage

from mmmuse.checkpoints.state_dicts import with_current_names

from ..conftest import labelled, small_distiller
from ..test_distillers.transfer import offline, online
from ..test_hooks.test_student_checkpoint import assert_same, train
from .old_checkpoint import with_old_names, write_old_checkpoint

# What commit 796cc90 named the state of these distillers beside the student's.
NAMES = json.loads((Path(__file__).parent / 'names_of_796cc90.json').read_text())
DISTILLERS = {
    'self': small_distiller,
    'self_vid': lambda: small_distiller('vid_ce'),
    'offline': offline,
    'online': online,
}


@pytest.mark.parametrize('kind', DISTILLERS)
def test_every_old_name_has_its_present_one(kind):
    own = [name for name in DISTILLERS[kind]().state_dict() if not name.startswith('student.')]
    assert set(with_current_names(dict.fromkeys(NAMES[kind]))) == set(own)
    assert set(with_old_names(dict.fromkeys(own))) == set(NAMES[kind])


@pytest.mark.parametrize('kind', DISTILLERS)
def test_the_order_of_parameters_is_the_old_one_so_that_optimizers_resume(kind):
    distiller = DISTILLERS[kind]()
    parameters = [n for n, _ in distiller.named_parameters() if not n.startswith('student.')]
    assert list(with_old_names(dict.fromkeys(parameters))) == NAMES[f'{kind}_parameters']


@pytest.mark.parametrize('kind', DISTILLERS)
def test_weights_with_old_names_load_strictly(kind):
    torch.manual_seed(0)
    trained, fresh = DISTILLERS[kind](), DISTILLERS[kind]()
    fresh.load_state_dict(with_old_names(trained.state_dict()))
    for (name, value), other in zip(trained.state_dict().items(), fresh.state_dict().values()):
        assert torch.equal(value, other), name


def test_an_averaged_copy_with_old_names_loads_too():
    trained = small_distiller()
    old = {f'module.{name}': value for name, value in with_old_names(trained.state_dict()).items()}
    averaged = ExponentialMovingAverage(small_distiller())
    averaged.load_state_dict({**old, 'steps': torch.tensor(3)})
    assert torch.equal(averaged.module.muse.exits[0].fc.weight, trained.muse.exits[0].fc.weight)


def test_plain_weights_of_a_student_keep_their_names():
    distiller = small_distiller()
    plain = distiller.student.state_dict()
    assert any(name.startswith('head.') for name in plain)
    fresh = small_distiller()
    fresh.load_state_dict(plain, strict=False)
    x = torch.randn(2, 3, 16, 16)
    distiller.eval(), fresh.eval()
    assert torch.equal(fresh(x, labelled([0, 1])), distiller(x, labelled([0, 1])))


@pytest.mark.parametrize('ema', [False, True])
def test_a_run_of_an_old_version_goes_on_as_if_it_were_of_this_one(ema, tmp_path):
    straight, _ = train(tmp_path / 'straight', epochs=2, ema=ema)
    write_old_checkpoint(tmp_path / 'straight' / 'epoch_1.pth', tmp_path / 'old.pth')
    resumed, _ = train(
        tmp_path / 'resumed', epochs=2, ema=ema, load_from=str(tmp_path / 'old.pth'), resume=True
    )
    assert_same(resumed.model.state_dict(), straight.model.state_dict())
