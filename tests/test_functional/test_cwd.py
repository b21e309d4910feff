import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from mmmuse.errors import InputError
from mmmuse.functional import cwd_loss


def maps(seed: int, *shape: int) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(2, *shape, dtype=torch.float64, generator=generator) * 3


def slow_cwd(feature: list, target: list, temperature: float) -> float:
    """A loop over images and channels, of nested lists."""
    divergences = []
    for image, its in zip(feature, target):
        for channel, of_teacher in zip(image, its):
            powers = [math.exp(x / temperature) for row in channel for x in row]
            wanted = [math.exp(x / temperature) for row in of_teacher for x in row]
            divergences.append(
                sum(
                    p / sum(wanted) * math.log(p / sum(wanted) / (q / sum(powers)))
                    for p, q in zip(wanted, powers)
                )
            )
    return temperature**2 * sum(divergences) / len(divergences)


@given(st.floats(0.5, 8), st.integers(1, 3), st.integers(1, 3), st.integers(0, 2**16))
def test_equals_a_slow_loop_over_the_formula(temperature, images, channels, seed):
    feature, target = maps(seed, images, channels, 2, 3)
    expected = slow_cwd(feature.tolist(), target.tolist(), temperature)
    found = cwd_loss(feature, target, temperature).item()
    assert found == pytest.approx(expected, rel=1e-9, abs=1e-12)


def test_a_shift_of_a_channel_does_not_count():
    feature, _ = maps(0, 2, 3, 4, 4)
    shift = torch.randn(2, 3, 1, 1, dtype=torch.float64)
    assert cwd_loss(feature, feature + shift, 2.0).item() == pytest.approx(0, abs=1e-12)


def test_gradient_is_that_of_finite_differences_and_the_target_has_none():
    feature, target = (x.requires_grad_() for x in maps(0, 2, 2, 2, 3))
    assert torch.autograd.gradcheck(lambda x: cwd_loss(x, target.detach(), 3.0), (feature,))
    cwd_loss(feature, target, 3.0).backward()
    assert target.grad is None


def test_half_precision_is_computed_in_float32():
    feature, target = maps(0, 2, 3, 4, 4).to(torch.bfloat16)
    expected = cwd_loss(feature.double(), target.double(), 1.0).item()
    found = cwd_loss(feature, target, 1.0)
    assert found.dtype == torch.float32
    assert found.item() == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize(
    ('shapes', 'temperature', 'said'),
    [
        (((1, 2, 4, 4), (1, 3, 4, 4)), 1.0, r'of one shape, got \(1, 2, 4, 4\) and \(1, 3, 4, 4\)'),
        (((1, 2, 4), (1, 2, 4)), 1.0, r'two maps \(N, C, H, W\)'),
        (((1, 2, 4, 4), (1, 2, 4, 4)), 0.0, 'a temperature above 0, got 0.0'),
    ],
)
def test_what_cannot_be_compared_is_refused(shapes, temperature, said):
    with pytest.raises(InputError, match=said):
        cwd_loss(*map(torch.zeros, shapes), temperature)
