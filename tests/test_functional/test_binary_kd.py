import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from mmmuse.errors import InputError
from mmmuse.functional import binary_kd_loss


def slow(student: list[list[float]], teacher: list[list[float]], temperature: float) -> float:
    total = 0.0
    for student_row, teacher_row in zip(student, teacher):
        for s, t in zip(student_row, teacher_row):
            p, q = (1 / (1 + math.exp(-x / temperature)) for x in (t, s))
            total += p * math.log(p / q) + (1 - p) * math.log((1 - p) / (1 - q))
    return temperature**2 * total / len(student)


@given(st.floats(0.5, 10), st.integers(1, 5), st.integers(1, 6), st.integers(0, 2**16))
def test_equals_a_slow_loop_over_the_formula(temperature, num_images, num_classes, seed):
    shape, draw = (2, num_images, num_classes), torch.Generator().manual_seed(seed)
    logits = 3 * torch.randn(shape, dtype=torch.float64, generator=draw)
    loss = binary_kd_loss(logits[0], logits[1], temperature)
    expected = slow(logits[0].tolist(), logits[1].tolist(), temperature)
    assert math.isclose(loss.item(), expected, rel_tol=1e-7, abs_tol=1e-9)


def test_equal_logits_give_zero_and_shifted_ones_do_not():
    logits = torch.randn(4, 7)
    assert binary_kd_loss(logits, logits, 2.0).abs() < 1e-6
    assert binary_kd_loss(logits, logits + 3, 2.0) > 0.1


def test_the_teacher_gets_no_gradient():
    student, teacher = (torch.randn(3, 4, requires_grad=True) for _ in range(2))
    binary_kd_loss(student, teacher, 3.0).backward()
    assert student.grad.abs().sum() > 0
    assert teacher.grad is None


def test_large_logits_are_finite():
    loss = binary_kd_loss(torch.tensor([[500.0, -500.0]]), torch.tensor([[-500.0, -500.0]]), 1.0)
    assert loss == 500.0


@pytest.mark.parametrize(('shape', 'temperature'), [((2, 3), 1.0), ((2, 4), 0.0)])
def test_bad_arguments_are_refused(shape, temperature):
    with pytest.raises(InputError, match='binary_kd_loss needs'):
        binary_kd_loss(torch.zeros(2, 4), torch.zeros(shape), temperature)
