import math

import pytest
import torch
from torch import nn

from mmmuse.errors import InputError
from mmmuse.functional import vid_loss
from mmmuse.losses import VIDLoss
from mmmuse.tapping.features import DistillFeatures, Step

from ..conftest import small_distiller
from .shapes import within


def test_each_map_predicts_the_last_one_on_the_smaller_grid():
    shallow = (torch.randn(2, 3, 8, 8), torch.randn(2, 4, 4, 4))
    last = torch.randn(2, 6, 4, 4, requires_grad=True)
    loss = VIDLoss(*within([3, 4], 6), loss_weight=0.1, critic_weight=0.5)
    for regressor in loss.regressors:  # A regressor that says 0 everywhere.
        nn.init.zeros_(regressor[-1].weight)
        nn.init.zeros_(regressor[-1].bias)
    losses = loss(Step.within(DistillFeatures(shallow, last)))
    assert set(losses) == {'loss_vid'}
    one = vid_loss(torch.zeros_like(last), torch.full((6,), 5.0), last)
    assert torch.isclose(losses['loss_vid'], 0.5 * 2 * one, rtol=1e-5)
    losses['loss_vid'].backward()
    assert last.grad is None
    assert all(raw.grad.abs().sum() > 0 for raw in loss.raw_variances)


def test_the_variances_are_parameters_that_start_at_5_and_are_saved():
    loss = VIDLoss(*within([3, 4], 6))
    assert torch.allclose(loss.variance(1), torch.full((6,), 5.0))
    assert 'raw_variances.0' in dict(loss.named_parameters())
    other = VIDLoss(*within([3, 4], 6), init_variance=1.0)
    other.load_state_dict(loss.state_dict())
    assert torch.equal(other.variance(0), loss.variance(0))
    for variance in (0.5, 1000.0):
        started = VIDLoss(*within([3], 6), init_variance=variance).variance(0)
        assert started.mean().item() == pytest.approx(variance)


def test_training_finds_the_variance_of_what_it_cannot_predict():
    torch.manual_seed(0)
    loss = VIDLoss(*within([2], 2), hidden_channels=4)
    optimizer = torch.optim.Adam(loss.parameters(), lr=0.05)
    scale = torch.tensor([0.5, 2.0])[:, None, None]
    for _ in range(400):
        last = torch.randn(64, 2, 2, 2) * scale
        total = loss(Step.within(DistillFeatures((torch.zeros(64, 2, 2, 2),), last)))['loss_vid']
        optimizer.zero_grad()
        total.backward()
        optimizer.step()
    assert loss.variance(0).tolist() == pytest.approx([0.25, 4.0], rel=0.25)
    # The bound is a Gaussian's entropy then, without its constant.
    assert total.item() == pytest.approx(0.5 * (0.5 + 0.5 * math.log(0.25 * 4) + 0.5), abs=0.15)


def test_a_distillers_variances_are_trained_and_stay_out_of_the_student():
    distiller = small_distiller('vid_ce')
    names = [name for name, _ in distiller.named_parameters() if 'raw_variances' in name]
    assert len(names) == 3
    assert not any(name.startswith('student.') for name in names)


def test_a_vector_is_refused_when_the_distiller_is_built():
    taps = dict(modules=['backbone.layer1', 'backbone.layer2'], last='neck', logits='head')
    with pytest.raises(
        InputError, match=r"VIDLoss .* module 3 of a network \('neck'\) is a vector"
    ):
        small_distiller('vid_ce', taps=taps)


@pytest.mark.parametrize('variance', [0, -1.0, 1e-5])
def test_a_variance_below_the_smallest_is_refused(variance):
    with pytest.raises(InputError, match='above 1e-05'):
        VIDLoss(*within([3], 4), init_variance=variance)
