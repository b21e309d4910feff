import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from mmmuse.errors import InputError
from mmmuse.functional import crd_loss


def slow_crd(positive: list[float], negative: list[list[float]], num_images: int) -> float:
    """Tell data from noise: of K + 1 rows one is data, and K are drawn evenly from M images."""
    total = 0.0
    for h, others in zip(positive, negative):
        noise = len(others) / num_images
        total -= math.log(h / (h + noise + 1e-7))
        for other in others:
            total -= math.log(noise / (other + noise + 1e-7))
    return total / len(positive)


def scores(num_images: int, num_negatives: int, seed: int) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    h = torch.randn(num_images, num_negatives + 1, dtype=torch.float64, generator=generator).exp()
    return h[:, 0], h[:, 1:]


@given(st.integers(1, 5), st.integers(1, 6), st.integers(2, 1000), st.integers(0, 2**16))
def test_equals_a_slow_loop_over_the_formula(batch, num_negatives, num_images, seed):
    positive, negative = scores(batch, num_negatives, seed)
    loss = crd_loss(positive, negative, num_images)
    slow = slow_crd(positive.tolist(), negative.tolist(), num_images)
    assert math.isclose(loss.item(), slow, rel_tol=1e-9)


def test_gradients_are_those_of_finite_differences():
    positive, negative = (side.clone().requires_grad_() for side in scores(3, 4, 0))
    assert torch.autograd.gradcheck(lambda a, b: crd_loss(a, b, 50), (positive, negative))


def test_falls_when_the_own_row_fits_better_and_when_others_fit_worse():
    positive, negative = scores(3, 4, 0)
    loss = crd_loss(positive, negative, 50)
    assert crd_loss(2 * positive, negative, 50) < loss
    assert crd_loss(positive, negative / 2, 50) < loss
    # It is 0 if data and noise are separated perfectly.
    assert crd_loss(1e9 * positive, 1e-9 * negative, 50) < 1e-5


def test_16384_negatives_are_summed_without_loss_in_float32():
    positive, negative = scores(4, 16384, 0)
    loss = crd_loss(positive.float(), negative.float(), 50000)
    assert loss.dtype == torch.float32
    assert math.isclose(loss.item(), crd_loss(positive, negative, 50000).item(), rel_tol=1e-5)


def test_half_precision_scores_are_computed_in_float32():
    positive, negative = (side.bfloat16() for side in scores(8, 64, 0))
    loss = crd_loss(positive, negative, 100)
    assert loss.dtype == torch.float32
    slow = slow_crd(positive.double().tolist(), negative.double().tolist(), 100)
    assert math.isclose(loss.item(), slow, rel_tol=1e-5)


def test_other_shapes_are_refused_with_both():
    with pytest.raises(InputError, match=r'\(2,\) and \(3, 4\)'):
        crd_loss(torch.ones(2), torch.ones(3, 4), 5)
    with pytest.raises(InputError, match=r'\(2, 1\) and \(2, 4\)'):
        crd_loss(torch.ones(2, 1), torch.ones(2, 4), 5)
