import math
from statistics import fmean

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from mmmuse.errors import InputError
from mmmuse.functional import hierarchical_context_loss


def pooled(rows: list[list[float]], grid: int) -> list[list[float]]:
    """The mean of each of grid x grid windows, which overlap where they do not divide a side."""

    def windows(size: int) -> list[range]:
        return [range(i * size // grid, -(-(i + 1) * size // grid)) for i in range(grid)]

    return [
        [fmean(rows[y][x] for y in ys for x in xs) for xs in windows(len(rows[0]))]
        for ys in windows(len(rows))
    ]


def mean_square(a: list[list[float]], b: list[list[float]]) -> float:
    return fmean((x - y) ** 2 for row, other in zip(a, b) for x, y in zip(row, other))


def slow_loss(feature: torch.Tensor, target: torch.Tensor) -> float:
    grids = [grid for grid in (4, 2, 1) if grid < min(feature.shape[2:])]
    channels = list(zip(feature.flatten(0, 1).tolist(), target.flatten(0, 1).tolist()))
    levels = [fmean(mean_square(a, t) for a, t in channels)]
    for grid in grids:
        levels.append(fmean(mean_square(pooled(a, grid), pooled(t, grid)) for a, t in channels))
    weights = [2.0**-i for i in range(len(levels))]
    return sum(w * level for w, level in zip(weights, levels)) / sum(weights)


def maps(seed: int, *shape: int) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(*shape, dtype=torch.float64, generator=generator)


@given(
    st.integers(1, 2), st.integers(1, 3), st.integers(1, 9), st.integers(1, 9), st.integers(0, 999)
)
def test_equals_a_slow_loop_over_the_windows(num_images, channels, height, width, seed):
    feature, target = (maps(seed + i, num_images, channels, height, width) for i in range(2))
    loss = hierarchical_context_loss(feature, target).item()
    assert math.isclose(loss, slow_loss(feature, target), rel_tol=1e-9)


@pytest.mark.parametrize('size', [1, 2, 3, 4, 8])
def test_a_constant_difference_is_the_same_at_all_grids(size):
    target = maps(0, 2, 3, size, size)
    assert hierarchical_context_loss(target + 3, target).item() == pytest.approx(9)


def test_what_averages_out_counts_at_fine_grids_only():
    # Of 8x8, 4x4, 2x2 and 1x1 with weights 8 : 4 : 2 : 1.
    ones = torch.ones(1, 1, 8, 8, dtype=torch.float64)
    stripes = ones.clone()
    stripes[..., ::2] = -1
    blocks = ones.clone()
    blocks[..., 4:] = -1
    zero = torch.zeros_like(ones)
    assert hierarchical_context_loss(stripes, zero).item() == pytest.approx(8 / 15)
    assert hierarchical_context_loss(blocks, zero).item() == pytest.approx(14 / 15)


def test_gradient_is_that_of_finite_differences_and_the_target_gets_none():
    feature, target = maps(0, 2, 2, 5, 5).requires_grad_(), maps(1, 2, 2, 5, 5).requires_grad_()
    assert torch.autograd.gradcheck(
        lambda x: hierarchical_context_loss(x, target.detach()), (feature,)
    )
    hierarchical_context_loss(feature, target).backward()
    assert target.grad is None


def test_half_precision_maps_are_computed_in_float32():
    feature, target = maps(0, 2, 3, 8, 8).bfloat16(), maps(1, 2, 3, 8, 8).bfloat16()
    loss = hierarchical_context_loss(feature, target)
    assert loss.dtype == torch.float32
    assert math.isclose(loss.item(), slow_loss(feature.double(), target.double()), rel_tol=1e-5)


def test_maps_of_two_shapes_and_vectors_are_refused():
    with pytest.raises(InputError, match=r'\(2, 3, 4, 4\) and \(2, 3, 2, 2\)'):
        hierarchical_context_loss(torch.zeros(2, 3, 4, 4), torch.zeros(2, 3, 2, 2))
    with pytest.raises(InputError, match=r'\(2, 3\)'):
        hierarchical_context_loss(torch.zeros(2, 3), torch.zeros(2, 3))
