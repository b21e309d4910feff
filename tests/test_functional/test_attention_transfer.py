import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from mmmuse.errors import InputError
from mmmuse.functional import attention_transfer_loss


def slow_attention(image: list) -> list[float]:
    channels, height, width = len(image), len(image[0]), len(image[0][0])
    energy = [
        sum(image[c][y][x] ** 2 for c in range(channels)) / channels
        for y in range(height)
        for x in range(width)
    ]
    norm = math.sqrt(sum(value**2 for value in energy))
    return [value / norm for value in energy]


def slow_attention_transfer(feature: list, target: list) -> float:
    squares = []
    for image, other in zip(feature, target):
        for a, b in zip(slow_attention(image), slow_attention(other)):
            squares.append((a - b) ** 2)
    return sum(squares) / len(squares)


@given(
    st.integers(1, 3), st.integers(1, 4), st.integers(1, 4), st.integers(2, 5), st.integers(0, 99)
)
def test_equals_a_slow_loop_over_the_formula(num_images, channels, others, size, seed):
    generator = torch.Generator().manual_seed(seed)
    feature, target = (
        torch.randn(num_images, c, size, size - 1, dtype=torch.float64, generator=generator)
        for c in (channels, others)
    )
    loss = attention_transfer_loss(feature, target)
    slow = slow_attention_transfer(feature.tolist(), target.tolist())
    assert math.isclose(loss.item(), slow, rel_tol=1e-9, abs_tol=1e-15)


def test_gradient_is_that_of_finite_differences():
    feature = torch.randn(2, 3, 2, 2, dtype=torch.float64, requires_grad=True)
    target = torch.randn(2, 4, 2, 2, dtype=torch.float64)
    assert torch.autograd.gradcheck(lambda map: attention_transfer_loss(map, target), (feature,))


def test_the_target_gets_no_gradient_and_the_scale_of_neither_matters():
    feature, target = (torch.randn(2, 3, 4, 4, requires_grad=True) for _ in range(2))
    loss = attention_transfer_loss(feature, target)
    torch.testing.assert_close(attention_transfer_loss(5 * feature, 0.2 * target), loss)
    loss.backward()
    assert feature.grad.abs().sum() > 0
    assert target.grad is None


def test_maps_of_zeros_give_a_finite_gradient():
    feature = torch.zeros(2, 3, 4, 4, requires_grad=True)
    attention_transfer_loss(feature, torch.randn(2, 3, 4, 4)).backward()
    assert feature.grad.isfinite().all()


def test_half_precision_is_computed_in_float32():
    feature, target = torch.randn(2, 2, 3, 4, 4).bfloat16()
    assert attention_transfer_loss(feature, target).dtype == torch.float32


def test_vectors_and_other_batches_are_refused():
    with pytest.raises(InputError, match=r'\(2, 3\)'):
        attention_transfer_loss(torch.zeros(2, 3), torch.zeros(2, 3, 4, 4))
    with pytest.raises(InputError, match='got 2 and 1'):
        attention_transfer_loss(torch.zeros(2, 3, 4, 4), torch.zeros(1, 3, 4, 4))
