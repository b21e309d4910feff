import math

import pytest
import torch

from mmmuse.errors import InputError
from mmmuse.functional import alignment_loss


def slow(
    feature: list[list[float]], target: list[list[float]], distance: str, beta: float
) -> float:
    """The formula, one number at a time."""
    values = []
    for own, other in zip(feature, target, strict=True):
        normalised = []
        for row in (own, other):
            mean = sum(row) / len(row)
            variance = sum((x - mean) ** 2 for x in row) / len(row)
            normalised.append([(x - mean) / math.sqrt(variance + 1e-6) for x in row])
        pairs = list(zip(*normalised, strict=True))
        if distance == 'cosine':
            lengths = [math.sqrt(sum(x * x for x in row)) for row in normalised]
            values.append(1 - sum(a * b for a, b in pairs) / math.prod(lengths))
            continue
        for a, b in pairs:
            d = abs(a - b)
            values.append(d * d / (2 * beta) if d < beta else d - beta / 2)
    return sum(values) / len(values)


@pytest.mark.parametrize(
    ('distance', 'beta'), [('cosine', 2), ('smooth_l1', 2), ('smooth_l1', 0.1)]
)
def test_it_is_the_formula(distance, beta):
    feature, target = torch.randn(2, 12, 7, dtype=torch.float64)
    expected = slow(feature.tolist(), target.tolist(), distance, beta)
    assert alignment_loss(feature, target, distance, beta).item() == pytest.approx(expected)
    of_maps = alignment_loss(feature.view(3, 4, 7), target.view(3, 4, 7), distance, beta)
    assert of_maps.item() == pytest.approx(expected)


@pytest.mark.parametrize('distance', ['cosine', 'smooth_l1'])
def test_the_scale_and_shift_of_a_vector_do_not_count(distance):
    feature, target = torch.randn(2, 6, 5)
    expected = alignment_loss(feature, target, distance)
    again = alignment_loss(3 * feature + 2, 0.5 * target - 1, distance)
    torch.testing.assert_close(again, expected, rtol=1e-3, atol=1e-5)
    assert alignment_loss(2 * target + 1, target, distance) < 1e-5


@pytest.mark.parametrize('distance', ['cosine', 'smooth_l1'])
def test_a_constant_vector_has_a_finite_gradient_and_the_target_none(distance):
    feature = torch.ones(3, 4, requires_grad=True)
    target = torch.randn(3, 4, requires_grad=True)
    alignment_loss(feature, target, distance).backward()
    assert feature.grad.isfinite().all()
    assert target.grad is None


def test_shapes_that_differ_are_refused():
    with pytest.raises(InputError, match=r'of one shape, got \(2, 3\) and \(2, 4\)'):
        alignment_loss(torch.zeros(2, 3), torch.zeros(2, 4))
    with pytest.raises(InputError, match='at least two channels'):
        alignment_loss(torch.zeros(2, 1), torch.zeros(2, 1))
