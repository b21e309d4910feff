import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from mmmuse.errors import InputError
from mmmuse.functional import dist_loss

from .test_kd import softmax


def slow_correlation(first: list[float], second: list[float]) -> float:
    """Pearson's correlation, with 1e-8 beside the product of the lengths as in the public code."""
    first, second = ([x - sum(row) / len(row) for x in row] for row in (first, second))
    lengths = [math.sqrt(sum(x * x for x in row)) for row in (first, second)]
    return sum(a * b for a, b in zip(first, second)) / (lengths[0] * lengths[1] + 1e-8)


def slow_dist(
    student: list, teacher: list, temperature: float, inter: float, intra: float
) -> float:
    own, other = ([softmax(row, temperature) for row in logits] for logits in (student, teacher))

    def distance(first: list, second: list) -> float:
        return sum(1 - slow_correlation(a, b) for a, b in zip(first, second)) / len(first)

    columns = [list(zip(*rows)) for rows in (own, other)]
    return temperature**2 * (inter * distance(own, other) + intra * distance(*columns))


@given(st.floats(0.5, 8), st.integers(2, 5), st.integers(2, 6), st.integers(0, 2**16))
def test_equals_a_slow_loop_over_the_formula(temperature, num_images, num_classes, seed):
    generator = torch.Generator().manual_seed(seed)
    logits = torch.randn(2, num_images, num_classes, dtype=torch.float64, generator=generator)
    expected = slow_dist(*logits.tolist(), temperature, 2.0, 0.5)
    found = dist_loss(*logits, temperature, 2.0, 0.5).item()
    assert math.isclose(found, expected, rel_tol=1e-9, abs_tol=1e-9)


@pytest.mark.parametrize('dtype', [torch.float32, torch.float64])
def test_classes_that_are_absent_from_the_batch_count_by_the_formula(dtype):
    generator = torch.Generator().manual_seed(0)
    logits = torch.randn(2, 6, 9, dtype=torch.float64, generator=generator)
    logits[:, :, 3:] -= torch.linspace(6, 12, 6, dtype=torch.float64)  # Down to 1e-6.
    logits[:, :, -1] -= 200  # Squares that float32 cannot hold.
    logits = logits.to(dtype)
    expected = slow_dist(*logits.tolist(), 1.0, 0.0, 1.0)
    assert dist_loss(*logits, 1.0, 0.0, 1.0).item() == pytest.approx(expected, rel=1e-5)
    student = logits[0].clone().requires_grad_()
    dist_loss(student, logits[1], 1.0, 1.0, 1.0).backward()
    assert student.grad.isfinite().all()


def test_without_noise_it_is_numpys_correlation():
    generator = torch.Generator().manual_seed(0)
    logits = torch.randn(2, 5, 6, dtype=torch.float64, generator=generator) * 4
    own, other = (x.softmax(1).numpy() for x in logits)
    inter = 1 - np.mean([np.corrcoef(a, b)[0, 1] for a, b in zip(own, other)])
    intra = 1 - np.mean([np.corrcoef(a, b)[0, 1] for a, b in zip(own.T, other.T)])
    assert dist_loss(*logits, 1.0, 1.0, 0.0).item() == pytest.approx(inter, abs=1e-5)
    assert dist_loss(*logits, 1.0, 0.0, 1.0).item() == pytest.approx(intra, abs=1e-5)


def test_equal_logits_up_to_a_shift_give_zero():
    logits = torch.randn(4, 7, dtype=torch.float64)
    assert dist_loss(logits, logits + 3, 2.0, 1.0, 1.0).item() == pytest.approx(0, abs=1e-5)


def test_gradient_is_that_of_finite_differences_and_the_teacher_has_none():
    student = torch.randn(3, 4, dtype=torch.float64, requires_grad=True)
    teacher = torch.randn(3, 4, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(
        lambda logits: dist_loss(logits, teacher.detach(), 3.0, 1.0, 2.0), (student,)
    )
    dist_loss(student, teacher, 3.0, 1.0, 2.0).backward()
    assert teacher.grad is None


def test_equal_probabilities_have_a_finite_gradient():
    student = torch.zeros(3, 4, requires_grad=True)
    dist_loss(student, torch.randn(3, 4), 1.0, 1.0, 1.0).backward()
    assert student.grad.isfinite().all()


@pytest.mark.parametrize(
    ('shapes', 'temperature', 'said'),
    [
        (((2, 3), (2, 4)), 1.0, r'of one shape and two images or more, got \(2, 3\) and \(2, 4\)'),
        (((1, 3), (1, 3)), 1.0, 'two images or more'),
        (((2, 3), (2, 3)), -1.0, 'a temperature above 0, got -1.0'),
    ],
)
def test_what_cannot_be_compared_is_refused(shapes, temperature, said):
    with pytest.raises(InputError, match=said):
        dist_loss(*map(torch.zeros, shapes), temperature, 1.0, 1.0)
