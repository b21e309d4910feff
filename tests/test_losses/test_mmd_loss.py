import pytest
import torch

from mmmuse.functional import mmd_loss
from mmmuse.losses import MMDLoss
from mmmuse.tapping.features import DistillFeatures, Step

from .shapes import within


def test_sums_over_the_shallow_maps_and_weighs():
    shallow = tuple(torch.randn(2, channels, 8, 8, requires_grad=True) for channels in (3, 4))
    last = torch.randn(2, 6, 4, 4, requires_grad=True)
    losses = MMDLoss(*within([3, 4], 6), loss_weight=2.0)(
        Step.within(DistillFeatures(shallow, last))
    )
    expected = 2 * sum(mmd_loss(local, last) for local in shallow)
    assert set(losses) == {'loss_mmd'}
    assert torch.isclose(losses['loss_mmd'], expected)
    losses['loss_mmd'].backward()
    assert all(local.grad.abs().sum() > 0 for local in shallow)
    assert last.grad is None


def test_the_last_map_learns_too_if_asked():
    shallow, last = torch.randn(2, 3, 4, 4), torch.randn(2, 6, 4, 4, requires_grad=True)
    loss = MMDLoss(*within([3], 6), detach_last=False)(
        Step.within(DistillFeatures((shallow,), last))
    )['loss_mmd']
    loss.backward()
    assert last.grad.abs().sum() > 0


def test_weighs_as_nst_and_vanishes_for_equal_maps():
    last = torch.randn(2, 3, 4, 4)
    loss = MMDLoss(*within([3], 3))
    assert loss.loss_weight == 50
    assert loss.reads == {'maps'}
    assert loss(Step.within(DistillFeatures((last.clone(),), last)))[
        'loss_mmd'
    ].item() == pytest.approx(0)
