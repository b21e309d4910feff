import math

import pytest
import torch

from mmmuse.checkpoints.state_dicts import with_plain_names
from mmmuse.errors import InputError
from mmmuse.losses import AdversarialLoss
from mmmuse.tapping.features import DistillFeatures, Step

from ..conftest import labelled, small_distiller
from .shapes import within


def test_the_features_climb_what_the_discriminator_descends():
    # A discriminator that passes the only channel on: score = relu(x).
    loss = AdversarialLoss(
        *within([4], 1), loss_weight=1.0, hidden_channels=1, reversal_scale=0.5, normalize=False
    )
    for parameter in loss.parameters():
        torch.nn.init.constant_(parameter, 0.0 if parameter.ndim == 1 else 1.0)
    exit_map = torch.tensor([[[[1.0]]]], requires_grad=True)
    last = torch.tensor([[2.0]], requires_grad=True)
    total = loss(Step.within(DistillFeatures((), last, exits=(exit_map,))))['loss_adversarial']
    assert total.item() == pytest.approx(math.log1p(math.exp(-2)) + math.log1p(math.exp(1)))
    total.backward()
    # d/dx of softplus(x) is sigmoid(x), of softplus(-x) it is -sigmoid(-x); then times -0.5.
    assert exit_map.grad.item() == pytest.approx(-0.5 / (1 + math.exp(-1)))
    assert last.grad.item() == pytest.approx(0.5 / (1 + math.exp(2)))
    # The discriminator itself gets the plain gradient.
    assert loss.discriminators[0][2].bias.grad.item() == pytest.approx(
        1 / (1 + math.exp(-1)) - 1 / (1 + math.exp(2))
    )


def test_equal_features_get_no_gradient_from_any_discriminator():
    torch.manual_seed(0)
    loss = AdversarialLoss(*within([4], 3), loss_weight=1.0)
    same = torch.randn(5, 3, requires_grad=True)
    other = same.detach().clone()[..., None, None].requires_grad_()
    optimizer = torch.optim.Adam(loss.parameters(), lr=0.05)
    for _ in range(200):
        total = loss(Step.within(DistillFeatures((), same, exits=(other,))))['loss_adversarial']
        optimizer.zero_grad()
        same.grad = other.grad = None
        total.backward()
        optimizer.step()
    # The best that a discriminator can do: 2 log 2, a Jensen-Shannon divergence of 0.
    assert total.item() == pytest.approx(2 * math.log(2), abs=1e-3)
    assert other.grad.abs().max() < 0.01


def test_features_do_not_escape_the_discriminator_by_growing():
    torch.manual_seed(0)
    vectors, other = torch.randn(5, 3), torch.randn(5, 3, 1, 1)
    for normalize, same in ((True, True), (False, False)):
        loss = AdversarialLoss(*within([4], 3), normalize=normalize)
        once, grown = (
            loss(Step.within(DistillFeatures((), scale * vectors, exits=(other,))))[
                'loss_adversarial'
            ]
            for scale in (1, 40)
        )
        assert torch.isclose(once, grown, rtol=1e-4) == same


def test_one_step_trains_the_discriminators_and_the_student():
    distiller = small_distiller('adversarial_ce')
    before = {name: value.clone() for name, value in distiller.state_dict().items()}
    optimizer = torch.optim.SGD(distiller.parameters(), lr=0.1)
    losses = distiller(torch.randn(4, 3, 16, 16), labelled([0, 1, 2, 3]), mode='loss')
    total, _ = distiller.parse_losses(losses)
    total.backward()
    assert all(parameter.grad is not None for parameter in distiller.parameters())
    optimizer.step()
    changed = [
        name for name, value in distiller.state_dict().items() if (value != before[name]).any()
    ]
    assert any('discriminators' in name for name in changed)
    assert 'student.backbone.layer1.0.conv1.weight' in changed


def test_the_discriminators_are_not_in_the_students_checkpoint():
    distiller = small_distiller('adversarial_ce')
    assert any('discriminators' in name for name in distiller.state_dict())
    plain = with_plain_names(distiller.state_dict())
    assert set(plain) == set(distiller.student.state_dict())


def test_a_negative_scale_is_refused():
    with pytest.raises(InputError, match='reversal_scale is a number of at least 0, got -1'):
        AdversarialLoss(*within([3], 4), reversal_scale=-1)
