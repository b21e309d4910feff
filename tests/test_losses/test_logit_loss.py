"""Losses of logits: their flag ``standardize``, and DIST."""

import pytest
import torch

from mmmuse.functional import dist_loss, dkd_loss, kd_loss
from mmmuse.losses import DISTLoss, DKDLoss, KDCLLoss, KDLoss, LogitLoss
from mmmuse.tapping.features import DistillFeatures, FeatureSpec, NetworkSpecs, Step

from ..conftest import labelled
from ..test_distillers.transfer import batch, offline
from .test_every_registered_loss import registered_losses

LABELS = [3, 0, 4, 4]
LOGIT_LOSSES = [kind for kind in registered_losses() if issubclass(kind, LogitLoss)]


def specs() -> NetworkSpecs:
    return NetworkSpecs(logits=FeatureSpec(5), ensemble=True)


def of_logits(student: torch.Tensor, teacher: torch.Tensor) -> Step:
    features = (DistillFeatures(logits=logits) for logits in (student, teacher))
    return Step(*features, labelled(LABELS), ensemble_logits=teacher)


def z_scores(logits: torch.Tensor) -> torch.Tensor:
    return (logits - logits.mean(1, keepdim=True)) / (logits.std(1, keepdim=True) + 1e-7)


def test_the_flag_is_that_of_every_loss_of_softmax_logits():
    assert {kind.__name__ for kind in LOGIT_LOSSES} == {
        'DISTLoss',
        'DKDLoss',
        'KDCLLoss',
        'KDLoss',
    }


@pytest.mark.parametrize('kind', LOGIT_LOSSES)
def test_standardized_logits_of_another_size_and_shift_teach_the_same(kind):
    student, teacher = torch.randn(2, 4, 5, dtype=torch.float64)
    loss = kind(specs(), specs(), standardize=True)
    (expected,) = loss(of_logits(student, teacher)).values()
    (found,) = loss(of_logits(3 * student - 1, 0.2 * teacher + 4)).values()
    torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-7)
    (without,) = kind(specs(), specs())(of_logits(student, teacher)).values()
    assert not torch.isclose(without, expected)


def test_the_value_is_that_of_the_standardized_logits():
    student, teacher = torch.randn(2, 4, 5)
    own, other = z_scores(student), z_scores(teacher)
    step = of_logits(student, teacher)
    for loss, expected in (
        (KDLoss(specs(), specs(), 2.0, 9.0, standardize=True), 9 * kd_loss(own, other, 2.0)),
        (KDCLLoss(specs(), specs(), 2.0, 1.0, standardize=True), kd_loss(own, other, 2.0)),
        (
            DKDLoss(specs(), specs(), 1.0, 2.0, 4.0, warmup=0.0, standardize=True),
            dkd_loss(own, other, torch.tensor(LABELS), 4.0, 1.0, 2.0),
        ),
        (
            DISTLoss(specs(), specs(), 1.0, 2.0, 4.0, standardize=True),
            dist_loss(own, other, 4.0, 1.0, 2.0),
        ),
    ):
        (found,) = loss(step).values()
        torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-6)


def test_dist_weighs_both_relations():
    student, teacher = torch.randn(2, 4, 5)
    loss = DISTLoss(specs(), specs(), 0.5, 3.0, temperature=2.0, loss_weight=0.25)
    losses = loss(of_logits(student, teacher))
    assert set(losses) == {'loss_dist'}
    assert loss.min_batch_size == 2
    expected = 0.25 * dist_loss(student, teacher, 2.0, 0.5, 3.0)
    assert torch.isclose(losses['loss_dist'], expected)


@pytest.mark.parametrize(
    'config',
    [dict(type='mmmuse.DISTLoss'), dict(type='mmmuse.KDLoss', temperature=2, standardize=True)],
)
def test_a_student_learns_with_them_offline(config):
    distiller = offline(config)
    total, _ = distiller.parse_losses(distiller(*batch(), mode='loss'))
    total.backward()
    assert all(value.grad is not None for value in distiller.parameters())
