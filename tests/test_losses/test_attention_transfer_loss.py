import math
from statistics import fmean

import pytest
import torch
from torch import Tensor

from mmmuse.errors import InputError
from mmmuse.functional import attention_transfer_loss
from mmmuse.losses import AttentionTransferLoss, build_loss
from mmmuse.tapping.features import DistillFeatures, FeatureSpec, NetworkSpecs, Step

from .shapes import within

AT = 'mmmuse.AttentionTransferLoss'


def specs(*features: tuple[int, int | None]) -> NetworkSpecs:
    """Of features with so many channels on a square grid of this side, or without one."""
    *shallow, last = (
        FeatureSpec(c, None if side is None else (side, side)) for c, side in features
    )
    return NetworkSpecs(tuple(shallow), last)


STUDENT, TEACHER = ((3, 8), (4, 4)), ((5, 8), (6, 4))


def maps(features: tuple, requires_grad: bool = False) -> DistillFeatures:
    *shallow, last = (
        torch.randn(2, channels, side, side, requires_grad=requires_grad)
        for channels, side in features
    )
    return DistillFeatures(tuple(shallow), last)


def test_is_the_mean_square_between_where_the_maps_are_large():
    # Energies 9, 16 and 1, 0 over two places: of length 1 they are (9, 16) / sqrt(337), (1, 0).
    own, last = torch.tensor([[[[3.0, 4.0]]]]), torch.tensor([[[[2.0, 0.0]]]])
    losses = AttentionTransferLoss(*within([1], 1), loss_weight=10.0)(
        Step.within(DistillFeatures((own,), last))
    )
    assert set(losses) == {'loss_at'}
    root = math.sqrt(337)
    expected = 10 * ((9 / root - 1) ** 2 + (16 / root) ** 2) / 2
    assert losses['loss_at'].item() == pytest.approx(expected, rel=1e-5)


def energies(feature: Tensor) -> list[list[float]]:
    """Where each image is large, of length 1."""
    images = []
    for image in feature.tolist():
        rows = [
            fmean(channel[y][x] ** 2 for channel in image)
            for y in range(len(image[0]))
            for x in range(len(image[0][0]))
        ]
        length = math.sqrt(sum(value**2 for value in rows))
        images.append([value / length for value in rows])
    return images


def test_each_map_is_compared_with_its_own_target_and_they_are_summed():
    own, other = maps(STUDENT), maps(TEACHER)
    loss = build_loss(dict(type=AT), specs(*STUDENT), specs(*TEACHER))
    expected = 0.0
    for a, t in zip(own.modules, other.modules):
        images = zip(energies(a), energies(t))
        expected += fmean((x - y) ** 2 for rows in images for x, y in zip(*rows))
    value = loss(Step(own, other, []))['loss_at']
    assert value.item() == pytest.approx(1000 * expected, rel=1e-4)


def test_within_a_network_the_last_map_is_the_target_on_the_smaller_grid():
    own = maps(((3, 8), (4, 8), (6, 4)))
    value = AttentionTransferLoss(*within([3, 4], 6))(Step.within(own))['loss_at']
    expected = 1000 * sum(attention_transfer_loss(a, own.last) for a in own.shallow)
    assert torch.isclose(value, expected)


def test_the_student_gets_a_gradient_and_the_teacher_none():
    own, other = maps(STUDENT, requires_grad=True), maps(TEACHER, requires_grad=True)
    loss = build_loss(dict(type=AT), specs(*STUDENT), specs(*TEACHER))
    assert not list(loss.parameters())
    loss(Step(own, other, []))['loss_at'].backward()
    assert all(feature.grad.abs().sum() > 0 for feature in own.modules)
    assert all(feature.grad is None for feature in other.modules)


def test_bfloat16_maps_under_autocast_give_a_float32_loss_near_the_full_precision():
    own, other = maps(STUDENT), maps(TEACHER)
    loss = build_loss(dict(type=AT), specs(*STUDENT), specs(*TEACHER))
    full = loss(Step(own, other, []))['loss_at']
    own, other = (
        DistillFeatures(tuple(x.bfloat16() for x in side.shallow), side.last.bfloat16())
        for side in (own, other)
    )
    with torch.autocast('cpu', dtype=torch.bfloat16):
        half = loss(Step(own, other, []))['loss_at']
    assert half.dtype == torch.float32
    assert torch.isclose(half, full, rtol=0.05)


@pytest.mark.parametrize(
    ('student', 'teacher', 'options', 'message'),
    [
        (((3, 8), (4, None)), TEACHER, {}, 'module 2 of a network is a vector'),
        (STUDENT, ((5, 8), (6, None)), {}, 'module 2 of a network is a vector'),
        (STUDENT, (*TEACHER, (7, 2)), {}, 'taps has 2 of them, taps 3'),
        (STUDENT, TEACHER, dict(modules=[3]), r'modules are numbers from 1 to 2.*got \[3\]'),
        (STUDENT, TEACHER, dict(modules=[0, 1]), r'modules are numbers from 1 to 2.*got \[0, 1\]'),
    ],
)
def test_networks_and_modules_that_do_not_fit_are_refused(student, teacher, options, message):
    with pytest.raises(InputError, match=f'AttentionTransferLoss.*{message}') as raised:
        build_loss(dict(type=AT, **options), specs(*student), specs(*teacher))
    assert '\n' not in str(raised.value)


def test_a_vector_in_a_step_is_refused():
    with pytest.raises(InputError, match=r'a map .* needed, got shape \(2, 3\)'):
        AttentionTransferLoss(*within([3], 4))(
            Step.within(DistillFeatures((torch.randn(2, 3),), torch.randn(2, 4)))
        )
