from collections import OrderedDict

import pytest
import torch
from mmengine.logging import MessageHub
from torch import Tensor, nn

from mmmuse.errors import InputError
from mmmuse.functional import hierarchical_context_loss
from mmmuse.losses import ReviewKDLoss
from mmmuse.losses.review_kd_loss import AttentionFusion
from mmmuse.tapping.features import DistillFeatures, FeatureSpec, NetworkSpecs, Step


def specs(*features: tuple[int, int | None]) -> NetworkSpecs:
    """Of features with so many channels on a square grid of this side, or without one."""
    *shallow, last = (
        FeatureSpec(c, None if side is None else (side, side)) for c, side in features
    )
    return NetworkSpecs(tuple(shallow), last)


STUDENT = ((3, 8), (4, 8), (6, 4))
TEACHER = ((5, 8), (6, 8), (7, 4))


def maps(features: tuple, requires_grad: bool = False) -> DistillFeatures:
    *shallow, last = (
        torch.randn(4, channels, side, side, requires_grad=requires_grad)
        for channels, side in features
    )
    return DistillFeatures(tuple(shallow), last)


def review(student: tuple = STUDENT, teacher: tuple = TEACHER, **options) -> ReviewKDLoss:
    return ReviewKDLoss(specs(*student), specs(*teacher), **options)


class Unchanged(nn.Module):
    """A level that hands its own map on, and notes what has come from below."""

    def forward(self, feature: Tensor, below: Tensor | None) -> tuple[Tensor, Tensor]:
        self.below = below
        return feature, feature


def slow_fusion(level: AttentionFusion, feature: Tensor, below: Tensor) -> Tensor:
    """The fused map in eval mode, location by location."""
    convolution, norm = level.reduce
    factor = norm.weight / (norm.running_var + norm.eps) ** 0.5
    height, width = feature.shape[2:]
    fused = torch.empty(len(feature), convolution.out_channels, height, width)
    for n in range(len(feature)):
        for y in range(height):
            for x in range(width):
                reduced = convolution.weight[:, :, 0, 0] @ feature[n, :, y, x]
                own = (reduced - norm.running_mean) * factor + norm.bias
                # The nearest place of the coarser grid.
                other = below[n, :, y * below.shape[2] // height, x * below.shape[3] // width]
                scores = level.attention.weight[:, :, 0, 0] @ torch.cat([own, other])
                first, second = (scores + level.attention.bias).sigmoid()
                fused[n, :, y, x] = first * own + second * other
    return fused


@torch.no_grad()
def test_a_level_weighs_its_own_map_and_the_one_below_at_each_location():
    level = AttentionFusion(3, 4, 5, deepest=False).eval()
    for norm in (level.reduce[1], level.project[1]):
        for value in (norm.weight, norm.bias, norm.running_mean, norm.running_var):
            value.uniform_(0.5, 2)
    feature, below = torch.randn(2, 3, 4, 6), torch.randn(2, 4, 2, 3)
    compared, fused = level(feature, below)
    torch.testing.assert_close(fused, slow_fusion(level, feature, below))
    torch.testing.assert_close(compared, level.project(fused))
    assert compared.shape == (2, 5, 4, 6)


def test_the_deepest_level_has_no_attention():
    levels = review().levels
    assert [level.attention is None for level in levels] == [False, False, False, True]


def test_every_level_is_compared_with_the_teachers_and_the_deepest_comes_first():
    loss = review(TEACHER, TEACHER, loss_weight=0.5)
    loss.levels = nn.ModuleList(Unchanged() for _ in loss.levels)
    own, other = maps(TEACHER), maps(TEACHER)
    losses = loss(Step(own, other, []))
    assert set(losses) == {'loss_review_kd'}
    expected = sum(hierarchical_context_loss(a, b) for a, b in zip(own.modules, other.modules))
    expected = expected + (own.last_vector - other.last_vector).square().mean()
    assert torch.isclose(losses['loss_review_kd'], 0.5 * expected)
    first, second, third, pooled = loss.levels
    assert pooled.below is None
    assert torch.equal(third.below, own.last_vector[..., None, None])
    assert torch.equal(second.below, own.last)
    assert torch.equal(first.below, own.shallow[1])


def test_modules_are_chosen_by_number_and_the_pooled_level_may_be_left_out():
    other = maps(TEACHER)
    loss = review(TEACHER, TEACHER, modules=[3, 2], pooled_last=False, loss_weight=1.0)
    loss.levels = nn.ModuleList(Unchanged() for _ in loss.levels)
    assert len(loss.levels) == 2
    own = DistillFeatures(other.shallow[:1] + maps(TEACHER).shallow[1:], other.last)
    value = loss(Step(own, other, []))['loss_review_kd']
    assert torch.isclose(value, hierarchical_context_loss(own.shallow[1], other.shallow[1]))


def test_a_level_learns_from_all_deeper_ones_of_the_student():
    loss = review(pooled_last=False)
    own, other = maps(STUDENT, requires_grad=True), maps(TEACHER)
    first, second, third = loss.levels
    _, below = third(own.last, None)
    _, below = second(own.shallow[1], below)
    compared, _ = first(own.shallow[0], below)
    hierarchical_context_loss(compared, other.shallow[0]).backward()
    assert all(feature.grad.abs().sum() > 0 for feature in own.modules)


@pytest.mark.parametrize('pooled_last', [True, False])
def test_every_parameter_gets_a_gradient_and_the_teacher_none(pooled_last):
    loss = review(pooled_last=pooled_last)
    own, other = (maps(features, requires_grad=True) for features in (STUDENT, TEACHER))
    loss(Step(own, other, []))['loss_review_kd'].backward()
    for name, parameter in loss.named_parameters():
        assert parameter.grad is not None, name
        assert parameter.grad.isfinite().all()
    assert all(feature.grad.abs().sum() > 0 for feature in own.modules)
    assert all(feature.grad is None for feature in other.modules)


def test_it_falls_as_the_student_learns():
    loss = review()
    own, other = maps(STUDENT, requires_grad=True), maps(TEACHER)
    optimizer = torch.optim.Adam([*loss.parameters(), *own.modules], lr=0.02)
    values = []
    for _ in range(60):
        optimizer.zero_grad()
        learned = DistillFeatures(own.shallow, own.last)
        total = loss(Step(learned, other, []))['loss_review_kd']
        total.backward()
        optimizer.step()
        values.append(total.item())
    assert values[-1] < 0.7 * values[0]


@pytest.mark.parametrize(('own', 'target'), [((8, 8), (4, 2)), ((4, 4), (8, 8)), ((6, 2), (4, 4))])
def test_a_map_is_brought_to_the_teachers_grid(own, target):
    student, teacher = (NetworkSpecs((), FeatureSpec(3, grid)) for grid in (own, target))
    loss = ReviewKDLoss(student, teacher, pooled_last=False, loss_weight=1.0)
    loss.levels = nn.ModuleList([Unchanged()])
    values = torch.randn(2, 3, 1, 1)  # The same at all locations, so on any grid.
    features = Step(
        DistillFeatures((), values.expand(2, 3, *own)),
        DistillFeatures((), values.expand(2, 3, *target) + 2),
        [],
    )
    assert loss(features)['loss_review_kd'].item() == pytest.approx(4, rel=1e-5)


def test_tokens_are_maps_too():
    loss = review(teacher=((5, 8), (6, 8), (7, 2)))
    own, other = maps(STUDENT), maps(((5, 8), (6, 8), (7, 2)))
    tokens = torch.cat([torch.randn(4, 1, 7), other.last.flatten(2).transpose(1, 2)], 1)
    other = DistillFeatures(other.shallow, tokens)
    assert loss(Step(own, other, []))['loss_review_kd'].isfinite()


def test_the_middle_is_as_wide_as_the_students_deepest_map_up_to_512():
    assert review().levels[0].reduce[0].out_channels == 6
    assert review(mid_channels=9).levels[0].reduce[0].out_channels == 9
    wide = review(((3, 8), (600, 4)), ((3, 8), (7, 4)))
    assert wide.levels[0].reduce[0].out_channels == 512


def test_the_weight_is_that_of_the_public_code_and_warms_up(monkeypatch):
    hub = MessageHub.get_current_instance()
    monkeypatch.setattr(hub, '_runtime_info', OrderedDict(max_iters=240))
    loss, features = review(), Step(maps(STUDENT), maps(TEACHER), [])
    assert loss.loss_weight == 0.6
    values = {}
    for step in (0, 5, 20, 239):
        hub.update_info('iter', step)
        values[step] = loss(features)['loss_review_kd'].item()
    assert values[0] == 0
    assert values[5] == pytest.approx(values[239] / 4)
    assert values[20] == pytest.approx(values[239])


def test_bfloat16_autocast_gives_a_float32_loss_near_the_full_precision():
    loss, features = review(), Step(maps(STUDENT), maps(TEACHER), [])
    full = loss(features)['loss_review_kd']
    with torch.autocast('cpu', dtype=torch.bfloat16):
        half = loss(features)['loss_review_kd']
    assert half.dtype == torch.float32
    assert torch.isclose(half, full, rtol=0.05)
    half.backward()
    assert all(parameter.grad.isfinite().all() for parameter in loss.parameters())


@pytest.mark.parametrize(
    ('student', 'teacher', 'options', 'message'),
    [
        (STUDENT, ((5, 8), (6, 4), (7, None)), {}, 'module 3 of a network is a vector'),
        (STUDENT, TEACHER[1:], {}, 'taps has 3 of them, taps 2'),
        (STUDENT[1:], TEACHER, {}, 'taps has 2 of them, taps 3'),
        (STUDENT, TEACHER[1:], dict(modules=[3]), r'modules \[3\] of both .* taps 2'),
        (STUDENT, TEACHER, dict(modules=[0]), 'modules are numbers from 1 to 3'),
        (STUDENT, TEACHER, dict(warmup=2), 'warmup is a number from 0 to 1, got 2'),
    ],
)
def test_networks_and_numbers_that_do_not_fit_are_refused(student, teacher, options, message):
    with pytest.raises(InputError, match=message):
        review(student, teacher, **options)


def test_the_pooled_level_needs_the_last_tap():
    untapped, other = (NetworkSpecs((FeatureSpec(3, (8, 8)),)) for _ in range(2))
    with pytest.raises(InputError, match=r'taps.last'):
        ReviewKDLoss(untapped, other)
    assert len(ReviewKDLoss(untapped, other, pooled_last=False).levels) == 1


def test_a_vector_last_is_a_pooled_level_of_its_own():
    vectors = ((3, 8), (6, None))
    loss = review(vectors, ((5, 8), (7, None)), modules=[1])
    own = DistillFeatures((torch.randn(4, 3, 8, 8),), torch.randn(4, 6))
    other = DistillFeatures((torch.randn(4, 5, 8, 8),), torch.randn(4, 7))
    assert loss(Step(own, other, []))['loss_review_kd'].isfinite()


def test_the_norm_of_a_pooled_feature_needs_two_images():
    assert review().min_batch_size == 2
