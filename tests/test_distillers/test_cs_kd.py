import copy
import math

import pytest
import torch
from mmpretrain.structures import DataSample

from mmmuse.errors import InputError

from ..conftest import labelled
from .rivals import rival


def softmax(row: list[float], temperature: float = 1.0) -> list[float]:
    powers = [math.exp(value / temperature) for value in row]
    return [power / sum(powers) for power in powers]


def slow_kd(student: list, teacher: list, temperature: float) -> float:
    total = 0.0
    for row, target in zip(student, teacher):
        for q, p in zip(softmax(row, temperature), softmax(target, temperature)):
            total += p * math.log(p / q)
    return temperature**2 * total / len(student)


def test_the_first_ones_learn_from_their_partners():
    distiller = rival('cs_kd', temperature=2.0, loss_weight=0.5)
    distiller.student.head.fc.weight.data.mul_(20)
    student = copy.deepcopy(distiller.student)
    images, labels = torch.randn(6, 3, 16, 16), [1, 1, 4, 4, 0, 0]
    losses = distiller(images, labelled(labels), mode='loss')
    # The order of the original: pair i is images 2 i and 2 i + 1.
    own = student(images[[0, 2, 4]]).tolist()
    partners = student(images[[1, 3, 5]]).tolist()
    cross_entropy = [-math.log(softmax(row)[label]) for row, label in zip(own, [1, 4, 0])]
    assert losses['loss_student'].item() == pytest.approx(sum(cross_entropy) / 3, rel=1e-4)
    expected = 0.5 * slow_kd(own, partners, 2.0)
    assert expected > 1e-3
    assert losses['loss_class_kd'].item() == pytest.approx(expected, rel=1e-3)


def test_partners_give_no_gradient():
    distiller = rival('cs_kd')
    images = torch.randn(4, 3, 16, 16, requires_grad=True)
    distiller(images, labelled([0, 0, 1, 1]), mode='loss')['loss_class_kd'].backward()
    assert (images.grad.flatten(1).abs().sum(1) > 0).tolist() == [True, False, True, False]


def test_both_forwards_are_in_training_mode():
    distiller = rival('cs_kd')
    distiller(torch.randn(4, 3, 16, 16), labelled([0, 0, 1, 1]), mode='loss')
    assert distiller.student.backbone.bn1.num_batches_tracked == 2


def test_muse_sees_the_first_ones():
    distiller = rival('cs_kd', muse=True)
    seen = []
    distiller.adapters.register_forward_pre_hook(lambda _, args: seen.append(len(args[0][0])))
    distiller(torch.randn(4, 3, 16, 16), labelled([0, 0, 1, 1]), mode='loss')
    assert seen == [2]


@pytest.mark.parametrize('labels', [[0, 0, 1], [0, 1, 1, 0], [0, 0, 1, 2]])
def test_a_batch_that_is_no_pairs_is_refused_with_the_way_out(labels):
    images = torch.randn(len(labels), 3, 16, 16)
    with pytest.raises(InputError, match=r'pairs of one class.*mmmuse\.ClassPairSampler'):
        rival('cs_kd')(images, labelled(labels), mode='loss')


def test_an_odd_batch_is_refused_later_too():
    distiller = rival('cs_kd')
    distiller(torch.randn(4, 3, 16, 16), labelled([0, 0, 1, 1]), mode='loss')
    with pytest.raises(InputError, match='a batch of 3'):
        distiller(torch.randn(3, 3, 16, 16), labelled([0, 0, 1]), mode='loss')


def test_a_batch_needs_two_pairs_where_muse_needs_two_images():
    distiller = rival('cs_kd', muse=True)
    assert distiller.min_batch_size == 4
    with pytest.raises(InputError, match='at least 4 images, got 2'):
        distiller(torch.randn(2, 3, 16, 16), labelled([0, 0]), mode='loss')


def test_images_without_a_single_label_are_refused():
    for samples in ([DataSample(), DataSample()], labelled([[0, 1], [0, 1]])):
        with pytest.raises(InputError, match='one class label'):
            rival('cs_kd')(torch.randn(2, 3, 16, 16), samples, mode='loss')
