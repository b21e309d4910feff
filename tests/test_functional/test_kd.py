import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from mmmuse.errors import InputError
from mmmuse.functional import kd_loss


def softmax(row: list[float], temperature: float) -> list[float]:
    powers = [math.exp(value / temperature) for value in row]
    return [power / sum(powers) for power in powers]


def slow_kd(student: list[list[float]], teacher: list[list[float]], temperature: float) -> float:
    total = 0.0
    for student_row, teacher_row in zip(student, teacher):
        for q, p in zip(softmax(student_row, temperature), softmax(teacher_row, temperature)):
            total += p * math.log(p / q)
    return temperature**2 * total / len(student)


@given(st.floats(0.5, 10), st.integers(1, 5), st.integers(2, 6), st.integers(0, 2**16))
def test_equals_a_slow_loop_over_the_formula(temperature, num_images, num_classes, seed):
    logits = (
        torch.randn(
            2,
            num_images,
            num_classes,
            dtype=torch.float64,
            generator=torch.Generator().manual_seed(seed),
        )
        * 3
    )
    loss = kd_loss(logits[0], logits[1], temperature)
    slow = slow_kd(logits[0].tolist(), logits[1].tolist(), temperature)
    assert math.isclose(loss.item(), slow, rel_tol=1e-9, abs_tol=1e-12)


def test_equal_logits_up_to_a_shift_give_zero():
    logits = torch.randn(4, 7)
    assert kd_loss(logits, logits + 3, 2.0).abs() < 1e-6


def test_gradient_is_that_of_finite_differences():
    student = torch.randn(3, 4, dtype=torch.float64, requires_grad=True)
    teacher = torch.randn(3, 4, dtype=torch.float64)
    assert torch.autograd.gradcheck(lambda logits: kd_loss(logits, teacher, 3.0), (student,))


def test_the_teacher_gets_no_gradient():
    student = torch.randn(3, 4, requires_grad=True)
    teacher = torch.randn(3, 4, requires_grad=True)
    kd_loss(student, teacher, 3.0).backward()
    assert student.grad.abs().sum() > 0
    assert teacher.grad is None


def test_the_gradient_keeps_its_scale_when_the_temperature_rises():
    # Hinton et al.: at high temperatures it tends to (z_s - z_t) / (N K) for centred logits.
    student = torch.randn(2, 5, dtype=torch.float64)
    teacher = torch.randn(2, 5, dtype=torch.float64)
    student = (student - student.mean(1, keepdim=True)).requires_grad_()
    teacher = teacher - teacher.mean(1, keepdim=True)
    kd_loss(student, teacher, 1e4).backward()
    torch.testing.assert_close(
        student.grad, (student.detach() - teacher) / 10, rtol=1e-3, atol=1e-5
    )


def test_half_precision_logits_are_computed_in_float32():
    student, teacher = (torch.randn(64, 10).bfloat16() * 5 for _ in range(2))
    loss = kd_loss(student, teacher, 3.0)
    assert loss.dtype == torch.float32
    slow = slow_kd(student.double().tolist(), teacher.double().tolist(), 3.0)
    assert math.isclose(loss.item(), slow, rel_tol=1e-5)


def test_logits_of_two_shapes_are_refused_with_both():
    with pytest.raises(InputError, match=r'\(2, 3\) and \(2, 4\)'):
        kd_loss(torch.zeros(2, 3), torch.zeros(2, 4), 1.0)


@pytest.mark.parametrize('temperature', [0.0, -1.0, float('nan')])
def test_a_temperature_that_is_not_positive_is_refused(temperature):
    with pytest.raises(InputError, match='temperature'):
        kd_loss(torch.zeros(2, 3), torch.zeros(2, 3), temperature)
