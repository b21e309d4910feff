import pytest
import torch

from mmmuse.errors import InputError
from mmmuse.functional import kd_loss
from mmmuse.losses import KDLoss
from mmmuse.tapping.features import DistillFeatures, FeatureSpec, NetworkSpecs, Step

SPECS = NetworkSpecs(logits=FeatureSpec(5)), NetworkSpecs(logits=FeatureSpec(5))


def step(student: torch.Tensor, teacher: torch.Tensor) -> Step:
    return Step(DistillFeatures(logits=student), DistillFeatures(logits=teacher))


def test_weighs_the_loss_at_its_temperature():
    student, teacher = torch.randn(2, 4, 5)
    loss = KDLoss(*SPECS, temperature=4.0, loss_weight=0.25)
    assert torch.equal(
        loss(step(student, teacher))['loss_kd'], 0.25 * kd_loss(student, teacher, 4.0)
    )


def test_the_default_temperature_is_byots():
    student, teacher = torch.randn(2, 4, 5)
    assert torch.equal(
        KDLoss(*SPECS)(step(student, teacher))['loss_kd'], kd_loss(student, teacher, 3.0)
    )


@pytest.mark.parametrize('temperature', [0, -2.0])
def test_a_temperature_that_is_not_positive_is_refused_when_built(temperature):
    with pytest.raises(InputError, match=f'above 0, got {temperature}'):
        KDLoss(*SPECS, temperature)
