import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from mmmuse.errors import InputError
from mmmuse.functional import mmd_loss


def slow_mmd(feature: torch.Tensor, target: torch.Tensor) -> float:
    """The kernel's three means, pair by pair; maps ``(N, C, L)`` of one grid."""

    def unit(channel: list[float]) -> list[float]:
        length = math.sqrt(sum(value * value for value in channel))
        return [value / length for value in channel]

    def mean_kernel(first: list[list[float]], second: list[list[float]]) -> float:
        total = 0.0
        for x in first:
            for y in second:
                total += sum(a * b for a, b in zip(x, y)) ** 2
        return total / (len(first) * len(second))

    total = 0.0
    for s, t in zip(feature.tolist(), target.tolist()):
        s, t = [unit(channel) for channel in s], [unit(channel) for channel in t]
        total += mean_kernel(s, s) + mean_kernel(t, t) - 2 * mean_kernel(s, t)
    return total / len(feature)


def maps(seed: int, *shape: int) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(*shape, dtype=torch.float64, generator=generator)


@given(st.integers(1, 3), st.integers(1, 4), st.integers(1, 4), st.integers(0, 2**16))
def test_equals_the_mean_kernels_pair_by_pair(num_images, channels, others, seed):
    feature = maps(seed, num_images, channels, 2, 3)
    target = maps(seed + 1, num_images, others, 2, 3)
    slow = slow_mmd(feature.flatten(2), target.flatten(2))
    assert math.isclose(mmd_loss(feature, target).item(), slow, rel_tol=1e-9, abs_tol=1e-12)


@given(st.integers(1, 3), st.integers(1, 5), st.integers(0, 2**16))
def test_vanishes_for_equal_maps_and_is_never_negative(num_images, channels, seed):
    feature = maps(seed, num_images, channels, 3, 3)
    assert mmd_loss(feature, feature).item() == 0
    assert mmd_loss(feature, 3 * feature.flip(1)).item() < 1e-12  # A set has no order, no scale.
    assert mmd_loss(feature, maps(seed + 1, num_images, 2, 3, 3)).item() >= 0


def test_the_larger_map_is_averaged_to_the_grid_of_the_smaller():
    # Pooled to one row of two columns, the first is the second.
    large = torch.tensor([[[[1.0, 3.0, 0.0, 0.0], [3.0, 5.0, 0.0, 8.0]]]])
    small = torch.tensor([[[[3.0, 2.0]]]])
    assert mmd_loss(large, small).item() == pytest.approx(0, abs=1e-12)
    assert mmd_loss(small, large).item() == pytest.approx(0, abs=1e-12)
    assert mmd_loss(large, torch.tensor([[[[2.0, 3.0]]]])).item() > 0.01


def test_gradients_are_those_of_finite_differences():
    feature, target = maps(0, 2, 3, 4, 4).requires_grad_(), maps(1, 2, 2, 2, 2).requires_grad_()
    assert torch.autograd.gradcheck(mmd_loss, (feature, target))


def test_half_precision_maps_are_computed_in_float32():
    feature, target = maps(0, 2, 8, 4, 4).bfloat16(), maps(1, 2, 8, 4, 4).bfloat16()
    loss = mmd_loss(feature, target)
    assert loss.dtype == torch.float32
    slow = slow_mmd(feature.double().flatten(2), target.double().flatten(2))
    assert math.isclose(loss.item(), slow, rel_tol=1e-4)


def test_a_vector_and_another_number_of_images_are_refused():
    with pytest.raises(InputError, match=r'needed, got shape \(2, 3\)'):
        mmd_loss(torch.zeros(2, 3), torch.zeros(2, 3, 4, 4))
    with pytest.raises(InputError, match='got 2 and 3'):
        mmd_loss(torch.zeros(2, 3, 4, 4), torch.zeros(3, 3, 4, 4))
