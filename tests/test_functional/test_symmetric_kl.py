import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from mmmuse.errors import InputError
from mmmuse.functional import symmetric_kl


def slow_symmetric_kl(first: list, second: list, temperature: float) -> float:
    """Jeffreys' divergence in its closed form, sum of (p - q) log(p / q)."""
    total = 0.0
    for row, other in zip(first, second):
        powers = [math.exp(value / temperature) for value in row]
        others = [math.exp(value / temperature) for value in other]
        for a, b in zip(powers, others):
            p, q = a / sum(powers), b / sum(others)
            total += (p - q) * math.log(p / q)
    return temperature**2 * total / len(first)


@given(st.floats(0.5, 10), st.integers(1, 5), st.integers(2, 6), st.integers(0, 2**16))
def test_equals_a_slow_loop_over_the_formula(temperature, num_images, num_classes, seed):
    generator = torch.Generator().manual_seed(seed)
    shape = (2, num_images, num_classes)
    logits = 3 * torch.randn(shape, dtype=torch.float64, generator=generator)
    loss = symmetric_kl(*logits, temperature)
    slow = slow_symmetric_kl(*logits.tolist(), temperature)
    assert math.isclose(loss.item(), slow, rel_tol=1e-9, abs_tol=1e-12)


def test_each_side_learns_from_the_other_as_a_fixed_target():
    # The gradient of tau^2 KL(p || q) with respect to q's logits is tau (q - p) / N.
    first, second = (torch.randn(3, 4, dtype=torch.float64, requires_grad=True) for _ in range(2))
    symmetric_kl(first, second, 2.0).backward()
    p, q = ((logits.detach() / 2).softmax(1) for logits in (first, second))
    torch.testing.assert_close(first.grad, 2 * (p - q) / 3)
    torch.testing.assert_close(second.grad, 2 * (q - p) / 3)


def test_half_precision_is_computed_in_float32():
    first, second = torch.randn(2, 4, 5).bfloat16()
    assert symmetric_kl(first, second, 4.0).dtype == torch.float32


@pytest.mark.parametrize('temperature', [0.0, -1.0])
def test_a_temperature_that_is_not_positive_is_refused(temperature):
    with pytest.raises(InputError, match='temperature'):
        symmetric_kl(torch.zeros(1, 2), torch.zeros(1, 2), temperature)
