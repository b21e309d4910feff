import math

import pytest
import torch
from torch import Tensor, nn

from mmmuse.errors import InputError
from mmmuse.losses import AFDLoss
from mmmuse.tapping.features import DistillFeatures, FeatureSpec, NetworkSpecs, Step


def specs(channels: int, grid: tuple[int, int] | None = (4, 4)) -> NetworkSpecs:
    return NetworkSpecs(shallow=(FeatureSpec(2, (8, 8)),), last=FeatureSpec(channels, grid))


def of_maps(student: Tensor, teacher: Tensor) -> Step:
    return Step(DistillFeatures((), student), DistillFeatures((), teacher), [])


class MapMean(nn.Module):
    """A discriminator whose score is the mean of the map, times a parameter."""

    def __init__(self) -> None:
        super().__init__()
        self.factor = nn.Parameter(torch.ones(()))

    def forward(self, maps: Tensor) -> Tensor:
        return self.factor * maps.mean((1, 2, 3))


def test_the_own_map_climbs_what_the_discriminator_descends():
    loss = AFDLoss(specs(1), specs(1), loss_weight=1.0, reversal_scale=0.5, normalize=False)
    loss.discriminator = MapMean()
    own = torch.full((1, 1, 2, 2), 1.0, requires_grad=True)
    other = torch.full((1, 1, 2, 2), 2.0, requires_grad=True)
    losses = loss(of_maps(own, other))
    assert set(losses) == {'loss_afd'}
    # The other's is real, the own is the fake.
    total = losses['loss_afd']
    assert total.item() == pytest.approx(math.log1p(math.exp(-2)) + math.log1p(math.exp(1)))
    total.backward()
    # d/dx of softplus(x) is sigmoid(x), over four places, then times -0.5.
    assert torch.allclose(own.grad, torch.full_like(own, -0.5 / (1 + math.exp(-1)) / 4))
    assert other.grad is None
    # The discriminator itself gets the plain gradient.
    assert loss.discriminator.factor.grad.item() == pytest.approx(
        1 / (1 + math.exp(-1)) - 2 / (1 + math.exp(2))
    )


def test_a_discriminator_that_says_nothing_costs_2_log_2():
    loss = AFDLoss(specs(3), specs(5), critic_weight=0.1)
    nn.init.zeros_(loss.discriminator[-1].weight)
    nn.init.zeros_(loss.discriminator[-1].bias)
    value = loss(of_maps(torch.randn(4, 3, 4, 4), torch.randn(4, 5, 4, 4)))['loss_afd']
    assert value.item() == pytest.approx(0.1 * 2 * math.log(2))


def test_the_own_map_comes_to_look_like_the_other_one():
    torch.manual_seed(1)
    loss = AFDLoss(specs(2), specs(2), loss_weight=1.0, normalize=False)
    shift = torch.full((2, 1, 1), 2.0, requires_grad=True)
    optimizer = torch.optim.Adam([{'params': loss.parameters()}, {'params': [shift]}], lr=0.01)
    for _ in range(300):
        own, other = torch.randn(2, 16, 2, 4, 4)
        optimizer.zero_grad()
        loss(of_maps(own + shift, other))['loss_afd'].backward()
        optimizer.step()
    assert shift.abs().max() < 1


def test_maps_do_not_escape_the_discriminator_by_growing():
    own, other = torch.randn(4, 3, 4, 4), torch.randn(4, 3, 4, 4)
    for normalize, same in ((True, True), (False, False)):
        loss = AFDLoss(specs(3), specs(3), normalize=normalize)
        once, grown = (loss(of_maps(scale * own, other))['loss_afd'] for scale in (1, 40))
        assert torch.isclose(once, grown, rtol=1e-4) == same


@pytest.mark.parametrize('channels', [3, 5])
def test_every_parameter_gets_a_gradient_and_the_other_network_none(channels):
    loss = AFDLoss(specs(channels), specs(5))
    own = torch.randn(4, channels, 4, 4, requires_grad=True)
    other = torch.randn(4, 5, 4, 4, requires_grad=True)
    loss(of_maps(own, other))['loss_afd'].backward()
    assert all(parameter.grad.abs().sum() > 0 for parameter in loss.parameters())
    assert own.grad.abs().sum() > 0
    assert other.grad is None


def test_channels_are_adapted_where_they_differ_and_with_the_network():
    assert AFDLoss(specs(5), specs(5)).adapt is None
    own, other = torch.randn(4, 3, 4, 4), torch.randn(4, 5, 4, 4)
    grads = []
    for scale in (0.0, 1.0, 2.0):
        torch.manual_seed(0)
        loss = AFDLoss(specs(3), specs(5), reversal_scale=scale)
        loss(of_maps(own, other))['loss_afd'].backward()
        grads.append((loss.adapt[0].weight.grad, loss.discriminator[0].weight.grad))
    # What is reversed and scaled reaches the adapter too: it is on the network's side.
    assert not grads[0][0].any()
    assert torch.allclose(2 * grads[1][0], grads[2][0])
    assert torch.equal(grads[1][1], grads[2][1])


def test_the_grids_and_the_kinds_of_map_may_differ():
    loss = AFDLoss(specs(3, (8, 8)), specs(5, (4, 4)), hidden_channels=7)
    tokens = torch.randn(4, 17, 5)  # A class token before a grid of 4 x 4.
    value = loss(of_maps(torch.randn(4, 3, 8, 8), tokens))['loss_afd']
    assert value.isfinite()
    without = loss(of_maps(torch.randn(4, 3, 1, 1), tokens[:, 1:]))['loss_afd']
    assert without.isfinite()
    assert loss.discriminator[0].weight.shape == (7, 5, 3, 3)


def test_bfloat16_autocast_gives_a_float32_loss_near_the_full_precision():
    loss = AFDLoss(specs(3), specs(5))
    features = of_maps(torch.randn(4, 3, 4, 4), torch.randn(4, 5, 4, 4))
    full = loss(features)['loss_afd']
    with torch.autocast('cpu', dtype=torch.bfloat16):
        half = loss(features)['loss_afd']
    assert half.dtype == torch.float32
    assert torch.isclose(half, full, rtol=0.05)
    half.backward()
    assert all(parameter.grad.isfinite().all() for parameter in loss.parameters())


def test_a_vector_a_missing_last_tap_and_a_negative_scale_are_refused():
    for student, teacher in (
        (specs(3, None), specs(5)),
        (specs(3), specs(5, None)),
        (specs(3), NetworkSpecs(shallow=(FeatureSpec(2, (8, 8)),))),
    ):
        with pytest.raises(InputError, match='AFDLoss compares last maps'):
            AFDLoss(student, teacher)
    with pytest.raises(InputError, match='reversal_scale is a number of at least 0, got -1'):
        AFDLoss(specs(3), specs(5), reversal_scale=-1)
