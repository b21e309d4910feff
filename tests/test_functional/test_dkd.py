import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from mmmuse.errors import InputError
from mmmuse.functional import dkd_loss, kd_loss


def softmax(row: list[float], temperature: float) -> list[float]:
    powers = [math.exp(value / temperature) for value in row]
    return [power / sum(powers) for power in powers]


def kl(p: list[float], q: list[float]) -> float:
    return sum(a * math.log(a / b) for a, b in zip(p, q))


def slow_dkd(student, teacher, labels, temperature, target_weight, other_weight) -> float:
    total = 0.0
    for student_row, teacher_row, label in zip(student, teacher, labels):
        q, p = softmax(student_row, temperature), softmax(teacher_row, temperature)
        total += target_weight * kl([p[label], 1 - p[label]], [q[label], 1 - q[label]])
        q_others, p_others = (
            [value / (1 - row[label]) for i, value in enumerate(row) if i != label]
            for row in (q, p)
        )
        total += other_weight * kl(p_others, q_others)
    return temperature**2 * total / len(student)


def draws(num_images: int, num_classes: int, seed: int) -> tuple[torch.Tensor, ...]:
    generator = torch.Generator().manual_seed(seed)
    logits = torch.randn(2, num_images, num_classes, dtype=torch.float64, generator=generator) * 3
    return *logits, torch.randint(num_classes, (num_images,), generator=generator)


@given(
    st.floats(0.5, 10),
    st.floats(0, 8),
    st.floats(0, 8),
    st.integers(1, 5),
    st.integers(2, 6),
    st.integers(0, 2**16),
)
def test_equals_a_slow_loop_over_the_formula(
    temperature, target_weight, other_weight, num_images, num_classes, seed
):
    student, teacher, labels = draws(num_images, num_classes, seed)
    weights = (temperature, target_weight, other_weight)
    loss = dkd_loss(student, teacher, labels, *weights)
    slow = slow_dkd(student.tolist(), teacher.tolist(), labels.tolist(), *weights)
    assert math.isclose(loss.item(), slow, rel_tol=1e-9, abs_tol=1e-9)


@given(st.integers(2, 6), st.integers(0, 2**16))
def test_kd_weighs_the_other_classes_with_what_the_teacher_leaves_them(num_classes, seed):
    student, teacher, labels = draws(1, num_classes, seed)
    left = 1 - softmax(teacher[0].tolist(), 4.0)[labels.item()]
    loss = dkd_loss(student, teacher, labels, 4.0, 1.0, left)
    assert math.isclose(loss.item(), kd_loss(student, teacher, 4.0).item(), rel_tol=1e-7)


def test_the_target_part_reads_no_more_than_the_labels_probability():
    student, teacher, labels = draws(4, 6, 0)
    # The same logits in another order, but for the label's.
    shuffled = student.clone()
    for row, label in zip(shuffled, labels):
        others = [i for i in range(6) if i != label]
        row[others] = row[others[::-1]]
    before, after = (dkd_loss(rows, teacher, labels, 4.0, 1.0, 0.0) for rows in (student, shuffled))
    assert torch.isclose(before, after)
    before, after = (dkd_loss(rows, teacher, labels, 4.0, 0.0, 1.0) for rows in (student, shuffled))
    assert not torch.isclose(before, after)


def test_the_other_part_does_not_read_the_labels_logit():
    student, teacher, labels = draws(4, 6, 0)
    raised = student.scatter_add(1, labels[:, None], torch.full((4, 1), 5.0, dtype=torch.float64))
    before, after = (dkd_loss(rows, teacher, labels, 4.0, 0.0, 1.0) for rows in (student, raised))
    assert torch.isclose(before, after)


def test_gradient_is_that_of_finite_differences():
    student, teacher, labels = draws(3, 4, 1)
    student.requires_grad_()
    assert torch.autograd.gradcheck(
        lambda logits: dkd_loss(logits, teacher, labels, 3.0, 1.0, 2.0), (student,)
    )


def test_the_teacher_gets_no_gradient():
    student, teacher, labels = draws(3, 4, 1)
    student.requires_grad_()
    teacher.requires_grad_()
    dkd_loss(student, teacher, labels, 3.0, 1.0, 2.0).backward()
    assert student.grad.abs().sum() > 0
    assert teacher.grad is None


def test_a_teacher_that_is_sure_of_the_label_leaves_a_finite_loss_and_gradient():
    # In float32 its probability is exactly 1, and that of all others together exactly 0.
    student = torch.randn(2, 5, requires_grad=True)
    teacher = torch.randn(2, 5)
    teacher[:, 0] = 500.0
    loss = dkd_loss(student, teacher, torch.zeros(2, dtype=torch.long), 1.0, 1.0, 2.0)
    loss.backward()
    assert loss.isfinite()
    assert student.grad.isfinite().all()
    assert student.grad.abs().sum() > 0


def test_half_precision_logits_are_computed_in_float32():
    student, teacher, labels = draws(64, 10, 2)
    student, teacher = student.bfloat16(), teacher.bfloat16()
    loss = dkd_loss(student, teacher, labels, 4.0, 1.0, 2.0)
    assert loss.dtype == torch.float32
    slow = slow_dkd(
        student.double().tolist(), teacher.double().tolist(), labels.tolist(), 4.0, 1.0, 2.0
    )
    assert math.isclose(loss.item(), slow, rel_tol=1e-5)


@pytest.mark.parametrize(
    ('student', 'teacher', 'labels', 'message'),
    [
        ((2, 3), (2, 4), 2, r'\(2, 3\) and \(2, 4\)'),
        ((2, 3), (2, 3), 3, r'each of 2 images .* labels \(3,\)'),
        ((2, 1), (2, 1), 2, 'two classes or more, .* 1 classes'),
    ],
)
def test_shapes_that_do_not_fit_are_refused(student, teacher, labels, message):
    labels = torch.zeros(labels, dtype=torch.long)
    with pytest.raises(InputError, match=message):
        dkd_loss(torch.zeros(student), torch.zeros(teacher), labels, 1.0, 1.0, 1.0)


@pytest.mark.parametrize('temperature', [0.0, -1.0, float('nan')])
def test_a_temperature_that_is_not_positive_is_refused(temperature):
    with pytest.raises(InputError, match='temperature'):
        dkd_loss(torch.zeros(2, 3), torch.zeros(2, 3), torch.zeros(2).long(), temperature, 1.0, 1.0)
