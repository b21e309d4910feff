import math
from collections import OrderedDict

import pytest
import torch
from mmengine.logging import MessageHub
from mmpretrain.structures import DataSample

from mmmuse.errors import InputError
from mmmuse.functional import dkd_loss
from mmmuse.losses import DKDLoss
from mmmuse.tapping.features import DistillFeatures, FeatureSpec, NetworkSpecs, Step

from ..conftest import labelled


def specs(num_classes: int = 5) -> NetworkSpecs:
    return NetworkSpecs(logits=FeatureSpec(num_classes))


def of_logits(student: torch.Tensor, teacher: torch.Tensor, samples: list) -> Step:
    return Step(DistillFeatures((), None, student), DistillFeatures((), None, teacher), samples)


def test_weighs_both_parts_by_the_samples_labels():
    student, teacher = torch.randn(2, 4, 5)
    labels = [3, 0, 4, 4]
    loss = DKDLoss(
        specs(), specs(), target_weight=0.5, other_weight=3.0, temperature=2.0, loss_weight=0.25
    )
    losses = loss(of_logits(student, teacher, labelled(labels)))
    assert set(losses) == {'loss_dkd'}
    expected = 0.25 * dkd_loss(student, teacher, torch.tensor(labels), 2.0, 0.5, 3.0)
    assert torch.isclose(losses['loss_dkd'], expected)


def test_is_that_of_a_computation_by_hand():
    # Label 0 has 1/2 with the student and 1/4 with the teacher; the others are 1 : 3 and 1 : 1.
    student = torch.tensor([[4.0, 1.0, 3.0]]).log()
    teacher = torch.tensor([[2.0, 3.0, 3.0]]).log()
    loss = DKDLoss(specs(3), specs(3), 1.0, 10.0, temperature=1.0, loss_weight=1.0)
    value = loss(of_logits(student, teacher, labelled([0])))['loss_dkd']
    target = math.log(0.25 / 0.5) / 4 + math.log(0.75 / 0.5) * 3 / 4
    others = math.log(0.5 / 0.25) / 2 + math.log(0.5 / 0.75) / 2
    assert value.item() == pytest.approx(target + 10 * others, rel=1e-5)


def test_the_defaults_are_those_of_the_public_code():
    student, teacher = torch.randn(2, 4, 5)
    loss = DKDLoss(specs(), specs())
    value = loss(of_logits(student, teacher, labelled([0, 1, 2, 3])))['loss_dkd']
    assert torch.isclose(value, dkd_loss(student, teacher, torch.arange(4), 4.0, 1.0, 2.0))
    assert loss.warmup == pytest.approx(20 / 240)
    assert not list(loss.parameters())


def test_a_peers_logits_get_no_gradient():
    student, teacher = (torch.randn(4, 5, requires_grad=True) for _ in range(2))
    features = of_logits(student, teacher, labelled([0, 1, 2, 3]))
    DKDLoss(specs(), specs())(features)['loss_dkd'].backward()
    assert student.grad.abs().sum() > 0
    assert teacher.grad is None


def test_the_weight_warms_up_over_a_part_of_the_training_and_stays(monkeypatch):
    hub = MessageHub.get_current_instance()
    monkeypatch.setattr(hub, '_runtime_info', OrderedDict(max_iters=240))
    student, teacher = torch.randn(2, 4, 5)
    loss, features = DKDLoss(specs(), specs()), of_logits(student, teacher, labelled([0, 1, 2, 3]))
    values = {}
    for step in (0, 5, 20, 239):
        hub.update_info('iter', step)
        values[step] = loss(features)['loss_dkd'].item()
    assert values[0] == 0
    assert values[5] == pytest.approx(values[239] / 4)
    assert values[20] == pytest.approx(values[239])


def test_half_precision_logits_give_a_float32_loss():
    student, teacher = torch.randn(2, 4, 5).bfloat16()
    with torch.autocast('cpu', dtype=torch.bfloat16):
        value = DKDLoss(specs(), specs())(of_logits(student, teacher, labelled([0, 1, 2, 3])))
    assert value['loss_dkd'].dtype == torch.float32


def test_an_image_without_one_label_is_refused():
    student, teacher = torch.randn(2, 2, 5)
    with pytest.raises(InputError, match='DKDLoss needs one class label'):
        DKDLoss(specs(), specs())(of_logits(student, teacher, [*labelled([0]), DataSample()]))


@pytest.mark.parametrize(
    ('options', 'said'),
    [
        (dict(temperature=0), 'temperature is a number above 0, got 0'),
        (dict(warmup=-0.1), 'warmup is a number from 0 to 1, got -0.1'),
        (dict(warmup=1.5), 'warmup is a number from 0 to 1, got 1.5'),
    ],
)
def test_numbers_out_of_range_are_refused(options, said):
    with pytest.raises(InputError, match=f'^DKDLoss: {said}$'):
        DKDLoss(specs(), specs(), **options)


def test_networks_that_cannot_be_compared_are_refused():
    with pytest.raises(InputError, match=r'differ in classes: 5 .taps. and 7'):
        DKDLoss(specs(5), specs(7))
    with pytest.raises(
        InputError, match=r'DKDLoss compares class logits: set teacher_taps\.logits'
    ):
        DKDLoss(specs(5), NetworkSpecs(taps='teacher_taps'))
