import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from mmmuse.errors import InputError
from mmmuse.functional import quality_focal_distance


def slow_distance(student: float, teacher: float, beta: float) -> float:
    p, q = 1 / (1 + math.exp(-teacher)), 1 / (1 + math.exp(-student))
    return abs(p - q) ** beta * -(p * math.log(q) + (1 - p) * math.log(1 - q))


@given(st.floats(-6, 6), st.floats(-6, 6), st.sampled_from([0.0, 1.0, 2.0]))
def test_equals_the_formula(student, teacher, beta):
    found = quality_focal_distance(
        *(torch.tensor([x], dtype=torch.float64) for x in (student, teacher)), beta
    )
    assert found.item() == pytest.approx(slow_distance(student, teacher, beta), abs=1e-9)


def test_equal_scores_have_no_distance_and_no_gradient():
    student = torch.randn(3, 4, requires_grad=True)
    distance = quality_focal_distance(student, student.detach())
    distance.sum().backward()
    assert torch.equal(distance, torch.zeros(3, 4))
    assert student.grad.isfinite().all()


def test_the_teacher_gets_no_gradient():
    student, teacher = torch.randn(2, 3, requires_grad=True), torch.randn(2, 3, requires_grad=True)
    quality_focal_distance(student, teacher).sum().backward()
    assert student.grad.abs().sum() > 0
    assert teacher.grad is None


def test_wrong_arguments_are_refused():
    with pytest.raises(InputError, match=r'logits of one shape, got \(2,\) and \(3,\)'):
        quality_focal_distance(torch.zeros(2), torch.zeros(3))
    with pytest.raises(InputError, match='a beta of at least 0, got -1'):
        quality_focal_distance(torch.zeros(2), torch.zeros(2), -1)
