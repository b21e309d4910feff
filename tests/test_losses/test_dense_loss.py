"""CWD, PKD and MGD: maps that are compared location by location."""

import pytest
import torch
import torch.nn.functional as F

from mmmuse.errors import InputError
from mmmuse.functional import cwd_loss, mgd_loss, pkd_loss
from mmmuse.losses import CWDLoss, MGDLoss, PKDLoss
from mmmuse.tapping.features import DistillFeatures, FeatureSpec, NetworkSpecs, Step

KINDS = [CWDLoss, PKDLoss, MGDLoss]
every_kind = pytest.mark.parametrize('kind', KINDS)


def specs(*channels: int, grids=((8, 8), (4, 4)), image=(64, 64), taps='taps') -> NetworkSpecs:
    *shallow, last = (
        FeatureSpec(c, grid, path=f'neck[{i}]') for i, (c, grid) in enumerate(zip(channels, grids))
    )
    return NetworkSpecs(tuple(shallow), last, taps=taps, image=image)


def features(*channels: int, grids=((8, 8), (4, 4))) -> DistillFeatures:
    *shallow, last = (
        torch.randn(2, c, *grid, requires_grad=True) for c, grid in zip(channels, grids)
    )
    return DistillFeatures(tuple(shallow), last)


def without_projection() -> tuple[Step, NetworkSpecs]:
    return Step(features(3, 4), features(3, 4)), specs(3, 4)


@pytest.mark.parametrize(('kind', 'formula'), [(CWDLoss, cwd_loss), (PKDLoss, pkd_loss)])
def test_the_loss_is_the_weighted_sum_of_the_formula_over_the_modules(kind, formula):
    step, shapes = without_projection()
    options = dict(temperature=2.0) if kind is CWDLoss else {}
    loss = kind(shapes, specs(3, 4), loss_weight=0.5, **options)
    assert list(loss.parameters()) == []
    (found,) = loss(step).values()
    pairs = zip(step.learner.modules, step.source.modules)
    expected = 0.5 * sum(formula(a, b, *options.values()) for a, b in pairs)
    torch.testing.assert_close(found, expected)
    (last,) = kind(shapes, specs(3, 4), loss_weight=1.0, modules=[2], **options)(step).values()
    torch.testing.assert_close(
        last, formula(step.learner.last, step.source.last, *options.values())
    )


def test_mgd_generates_the_target_from_what_is_not_masked():
    step, shapes = without_projection()
    loss = MGDLoss(shapes, specs(3, 4), mask_ratio=0.5, loss_weight=0.1)
    torch.manual_seed(3)
    found = loss(step)['loss_mgd']
    torch.manual_seed(3)
    expected = 0.0
    for generator, own, other in zip(loss.generators, step.learner.modules, step.source.modules):
        keep = (torch.rand(2, 1, *own.shape[2:]) >= 0.5).float()
        first, _, second = generator
        hidden = F.conv2d(own * keep, first.weight, first.bias, padding=1).clamp(min=0)
        made = F.conv2d(hidden, second.weight, second.bias, padding=1)
        expected = expected + 0.1 * mgd_loss(made, other)
    torch.testing.assert_close(found, expected)


def test_a_generator_can_learn_what_is_masked():
    torch.manual_seed(0)
    loss = MGDLoss(specs(3, 4), specs(3, 4), mask_ratio=0.5, loss_weight=1.0)
    step = Step(features(3, 4), features(3, 4))
    optimizer = torch.optim.Adam([*loss.parameters(), *step.learner.modules], lr=0.02)
    values = []
    for _ in range(80):
        optimizer.zero_grad()
        total = loss(step)['loss_mgd']
        total.backward()
        optimizer.step()
        values.append(total.item())
    assert sum(values[-5:]) < 0.7 * sum(values[:5])


@every_kind
def test_other_channels_are_projected(kind):
    loss = kind(specs(3, 4), specs(5, 4), loss_weight=1.0)
    assert set(loss.projections) == {'1'}
    step = Step(features(3, 4), features(5, 4))
    (total,) = loss(step).values()
    total.backward()
    assert all(parameter.grad is not None for parameter in loss.parameters())
    assert all(feature.grad.abs().sum() > 0 for feature in step.learner.modules)
    assert all(feature.grad is None for feature in step.source.modules)


@every_kind
def test_levels_of_other_strides_are_refused(kind):
    deeper = specs(3, 4, grids=((4, 4), (2, 2)), taps='teacher_taps')
    with pytest.raises(
        InputError,
        match=r"those of module 1 are 8 \('neck\[0\]' of taps\) and 16 \('neck\[0\]' of "
        r'teacher_taps\): tap the same levels',
    ):
        kind(specs(3, 4), deeper)
    loss = kind(specs(3, 4), deeper, resize=True)
    (total,) = loss(Step(features(3, 4), features(3, 4, grids=((4, 4), (2, 2))))).values()
    assert total.isfinite()


@every_kind
def test_more_levels_than_the_teacher_has_are_refused(kind):
    with pytest.raises(InputError, match=r'taps has 3 of them, teacher_taps 2: tap as many'):
        kind(specs(3, 4, 5, grids=((8, 8), (4, 4), (2, 2))), specs(3, 4, taps='teacher_taps'))
    with pytest.raises(
        InputError, match=r'of the same stride, and those of module 2 are 16 .* and 8 '
    ):
        kind(specs(3, 4), specs(3, taps='teacher_taps'))  # Its last feature, for the last one.


def test_a_teacher_of_a_larger_image_is_compared_on_the_students_grid():
    larger = specs(3, 4, grids=((16, 16), (8, 8)), image=(128, 128))
    loss = PKDLoss(specs(3, 4), larger, loss_weight=1.0)
    step = Step(features(3, 4), features(3, 4, grids=((16, 16), (8, 8))))
    expected = sum(
        pkd_loss(own, F.interpolate(other, own.shape[2:], mode='bilinear'))
        for own, other in zip(step.learner.modules, step.source.modules)
    )
    torch.testing.assert_close(loss(step)['loss_pkd'], expected)


def test_an_image_that_is_not_square_has_one_stride():
    wide = specs(3, 4, grids=((8, 12), (4, 6)), image=(64, 96))
    PKDLoss(wide, specs(3, 4), loss_weight=1.0)
    rounded = specs(3, 4, grids=((7, 13), (4, 7)), image=(50, 100))
    PKDLoss(rounded, specs(3, 4), loss_weight=1.0)


@every_kind
def test_vectors_are_refused(kind):
    vectors = NetworkSpecs((FeatureSpec(3, (8, 8)),), FeatureSpec(4), image=(64, 64))
    with pytest.raises(InputError, match=r'compares maps, and the output of module 2'):
        kind(vectors, specs(3, 4))


@every_kind
def test_tokens_of_an_image_that_is_not_square_are_refused(kind):
    wide = FeatureSpec.of(torch.Size([1, 32 * 64, 4]), 'backbone.layers.1')
    tokens = NetworkSpecs((FeatureSpec(3, (8, 8)),), wide, image=(512, 1024))
    said = rf"{kind.__name__} reads maps, and the 2048 tokens of 'backbone\.layers\.1' are not a square"
    with pytest.raises(InputError, match=said):
        kind(tokens, tokens)
