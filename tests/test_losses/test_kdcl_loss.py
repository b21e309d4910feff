import pytest
import torch

from mmmuse.errors import InputError
from mmmuse.functional import kd_loss
from mmmuse.losses import KDCLLoss
from mmmuse.tapping.features import DistillFeatures, FeatureSpec, NetworkSpecs, Step

SPECS = NetworkSpecs(logits=FeatureSpec(5), ensemble=True)


def of_logits(student: torch.Tensor, teacher: torch.Tensor, ensemble: torch.Tensor | None) -> Step:
    return Step(
        DistillFeatures((), None, student), DistillFeatures((), None, teacher), [], ensemble
    )


def test_imitates_the_ensemble_and_not_the_other_peer():
    student, teacher, ensemble = torch.randn(3, 4, 5)
    losses = KDCLLoss(SPECS, SPECS)(of_logits(student, teacher, ensemble))
    assert set(losses) == {'loss_kdcl'}
    assert torch.isclose(losses['loss_kdcl'], 0.5 * kd_loss(student, ensemble, 4.0))
    other = KDCLLoss(SPECS, SPECS, temperature=2.0, loss_weight=3.0)
    value = other(of_logits(student, torch.randn(4, 5), ensemble))['loss_kdcl']
    assert torch.isclose(value, 3 * kd_loss(student, ensemble, 2.0))


def test_only_the_one_that_learns_gets_a_gradient():
    student, teacher, ensemble = (torch.randn(4, 5, requires_grad=True) for _ in range(3))
    KDCLLoss(SPECS, SPECS)(of_logits(student, teacher, ensemble))['loss_kdcl'].backward()
    assert student.grad.abs().sum() > 0
    assert teacher.grad is None
    assert ensemble.grad is None


def test_half_precision_logits_give_a_float32_loss():
    student, teacher, ensemble = torch.randn(3, 4, 5).bfloat16()
    losses = KDCLLoss(SPECS, SPECS)(of_logits(student, teacher, ensemble))
    assert losses['loss_kdcl'].dtype == torch.float32


def test_a_frozen_teacher_without_an_ensemble_is_refused_before_the_first_step():
    without = NetworkSpecs(logits=FeatureSpec(5))
    with pytest.raises(InputError, match=r'use it in mmmuse\.OnlineDistiller'):
        KDCLLoss(without, without)


def test_bad_numbers_and_other_classes_are_refused():
    with pytest.raises(InputError, match='above 0, got -1'):
        KDCLLoss(SPECS, SPECS, temperature=-1)
    with pytest.raises(InputError, match=r'differ in classes: 5 .taps. and 3'):
        KDCLLoss(SPECS, NetworkSpecs(logits=FeatureSpec(3)))
