import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from mmmuse.errors import InputError
from mmmuse.functional import hint_loss


def slow_hint(feature: list[list[float]], target: list[list[float]]) -> float:
    total = 0.0
    for feature_row, target_row in zip(feature, target):
        for a, t in zip(feature_row, target_row):
            if a > 0 or t > 0:
                total += (a - t) ** 2
    return total


@given(st.integers(1, 5), st.integers(1, 6), st.integers(0, 2**16))
def test_equals_a_slow_loop_over_the_formula(num_images, channels, seed):
    feature, target = torch.randn(
        2, num_images, channels, dtype=torch.float64, generator=torch.Generator().manual_seed(seed)
    )
    loss = hint_loss(feature, target)
    slow = slow_hint(feature.tolist(), target.tolist())
    assert math.isclose(loss.item(), slow, rel_tol=1e-12, abs_tol=1e-15)


@pytest.mark.parametrize(
    ('feature', 'target', 'expected'),
    [
        (2.0, -1.0, 9.0),
        (-1.0, 2.0, 9.0),
        (3.0, 1.0, 4.0),
        (-3.0, -1.0, 0.0),
        (0.0, 0.0, 0.0),
    ],
)
def test_only_where_either_side_is_positive_counts(feature, target, expected):
    assert hint_loss(torch.tensor([[feature]]), torch.tensor([[target]])).item() == expected


def test_gradient_is_that_of_finite_differences():
    # Away from 0, where the mask jumps.
    feature = torch.tensor([[0.7, -0.4, 1.3], [-0.9, 0.2, -0.6]], dtype=torch.float64)
    target = torch.tensor([[0.5, -0.8, -0.3], [0.4, 1.1, -0.2]], dtype=torch.float64)
    feature.requires_grad_()
    assert torch.autograd.gradcheck(lambda vectors: hint_loss(vectors, target), (feature,))


def test_the_target_gets_no_gradient():
    feature = torch.ones(2, 3, requires_grad=True)
    target = torch.zeros(2, 3, requires_grad=True)
    hint_loss(feature, target).backward()
    assert torch.equal(feature.grad, torch.full((2, 3), 2.0))
    assert target.grad is None


def test_half_precision_vectors_are_computed_in_float32():
    feature, target = torch.rand(2, 500, dtype=torch.float64).bfloat16()[:, None]
    loss = hint_loss(feature, target)
    assert loss.dtype == torch.float32
    slow = slow_hint(feature.double().tolist(), target.double().tolist())
    assert math.isclose(loss.item(), slow, rel_tol=1e-5)


def test_vectors_of_two_shapes_are_refused_with_both():
    with pytest.raises(InputError, match=r'\(2, 3\) and \(2, 4\)'):
        hint_loss(torch.zeros(2, 3), torch.zeros(2, 4))
