import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from mmmuse.errors import InputError
from mmmuse.functional import linear_mmd_loss


def slow_linear_mmd(first: list, second: list) -> float:
    """The mean kernel values <a, a'> + <b, b'> - 2 <a, b>."""

    def mean_product(rows: list, others: list) -> float:
        products = [sum(x * y for x, y in zip(row, other)) for row in rows for other in others]
        return sum(products) / len(products)

    return (
        mean_product(first, first) + mean_product(second, second) - 2 * mean_product(first, second)
    )


@given(st.integers(1, 4), st.integers(1, 4), st.integers(1, 5), st.integers(0, 2**16))
def test_is_the_discrepancy_of_a_linear_kernel(num_first, num_second, channels, seed):
    generator = torch.Generator().manual_seed(seed)
    first = torch.randn(num_first, channels, dtype=torch.float64, generator=generator)
    second = torch.randn(num_second, channels, dtype=torch.float64, generator=generator)
    slow = slow_linear_mmd(first.tolist(), second.tolist())
    assert math.isclose(linear_mmd_loss(first, second).item(), slow, rel_tol=1e-9, abs_tol=1e-12)


def test_gradient_is_that_of_finite_differences():
    sides = tuple(torch.randn(n, 3, dtype=torch.float64, requires_grad=True) for n in (2, 4))
    assert torch.autograd.gradcheck(linear_mmd_loss, sides)


def test_half_precision_is_computed_in_float32():
    first, second = torch.randn(2, 4, 5).bfloat16()
    assert linear_mmd_loss(first, second).dtype == torch.float32


@pytest.mark.parametrize('shapes', [((2, 3), (2, 4)), ((2, 3, 1, 1), (2, 3)), ((3,), (3,))])
def test_other_shapes_are_refused(shapes):
    with pytest.raises(InputError, match='vectors of one length'):
        linear_mmd_loss(*map(torch.zeros, shapes))
