import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from mmmuse.errors import InputError
from mmmuse.functional import localisation_distillation_loss

from .test_kd import softmax


def logits(seed: int, count: int, bins: int) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    pair = torch.randn(2, count, 4, bins, dtype=torch.float64, generator=generator) * 3
    return (*pair, torch.rand(count, dtype=torch.float64, generator=generator))


def slow_ld(student: list, teacher: list, weights: list, temperature: float) -> float:
    total = 0.0
    for own, other, weight in zip(student, teacher, weights):
        for side, its in zip(own, other):
            q, p = softmax(side, temperature), softmax(its, temperature)
            total += weight / 4 * sum(a * math.log(a / b) for a, b in zip(p, q))
    return temperature**2 * total / sum(weights)


@given(st.floats(0.5, 12), st.integers(1, 4), st.integers(2, 6), st.integers(0, 2**16))
def test_equals_a_slow_loop_over_the_formula(temperature, count, bins, seed):
    student, teacher, weights = logits(seed, count, bins)
    found = localisation_distillation_loss(student, teacher, weights, temperature).item()
    expected = slow_ld(student.tolist(), teacher.tolist(), weights.tolist(), temperature)
    assert found == pytest.approx(expected, rel=1e-9, abs=1e-12)


@pytest.mark.slow
def test_agrees_with_mmdets_loss_up_to_its_mean_over_the_bins():
    from mmdet.models.losses import KnowledgeDistillationKLDivLoss

    student, teacher, weights = logits(0, 5, 7)
    of_sides = weights[:, None].expand(-1, 4).reshape(-1)
    theirs = KnowledgeDistillationKLDivLoss(T=10)(
        student.reshape(-1, 7), teacher.reshape(-1, 7), weight=of_sides, avg_factor=4.0
    )
    ours = localisation_distillation_loss(student, teacher, weights, 10.0)
    torch.testing.assert_close(ours, theirs * 7 / weights.sum())


def test_another_total_replaces_the_sum_of_the_weights():
    student, teacher, weights = logits(0, 3, 5)
    one = localisation_distillation_loss(student, teacher, weights, 2.0)
    other = localisation_distillation_loss(student, teacher, weights, 2.0, 4 * weights.sum())
    torch.testing.assert_close(other, one / 4)


def test_without_locations_it_is_zero_and_has_a_gradient():
    student = torch.zeros(0, 4, 5, requires_grad=True)
    loss = localisation_distillation_loss(student, torch.zeros(0, 4, 5), torch.zeros(0), 2.0)
    assert loss.item() == 0
    loss.backward()
    assert student.grad.shape == (0, 4, 5)


def test_only_the_students_logits_get_a_gradient():
    student, teacher, weights = (x.requires_grad_() for x in logits(0, 2, 3))
    assert torch.autograd.gradcheck(
        lambda x: localisation_distillation_loss(x, teacher.detach(), weights.detach(), 3.0),
        (student,),
    )
    localisation_distillation_loss(student, teacher, weights, 3.0).backward()
    assert teacher.grad is None
    assert weights.grad is None


@pytest.mark.parametrize(
    ('shapes', 'temperature', 'said'),
    [
        (((2, 4, 5), (2, 4, 6), (2,)), 1.0, r'logits \(P, 4, B\) of one shape, got \(2, 4, 5\)'),
        (((2, 3, 5), (2, 3, 5), (2,)), 1.0, r'logits \(P, 4, B\)'),
        (((2, 4, 5), (2, 4, 5), (3,)), 1.0, r'each of 2 locations, got weights \(3,\)'),
        (((2, 4, 5), (2, 4, 5), (2,)), 0.0, 'a temperature above 0, got 0.0'),
    ],
)
def test_what_cannot_be_compared_is_refused(shapes, temperature, said):
    with pytest.raises(InputError, match=said):
        localisation_distillation_loss(*map(torch.zeros, shapes), temperature)
