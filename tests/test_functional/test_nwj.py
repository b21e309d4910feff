import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from mmmuse.errors import InputError
from mmmuse.functional import donsker_varadhan_loss, nwj_loss

SCORES = st.lists(st.floats(-20, 20), min_size=1, max_size=12)


def slow_nwj(joint: list[float], marginal: list[float]) -> float:
    total = 0.0
    for score in joint:
        total -= score / len(joint)
    for score in marginal:
        total += math.exp(score) / math.e / len(marginal)
    return total


def float64(scores: list[float]) -> torch.Tensor:
    return torch.tensor(scores, dtype=torch.float64)


@given(joint=SCORES, marginal=SCORES)
def test_equals_a_slow_loop_over_the_formula(joint, marginal):
    loss = nwj_loss(float64(joint), float64(marginal))
    assert loss.dtype == torch.float64
    assert math.isclose(loss.item(), slow_nwj(joint, marginal), rel_tol=1e-9, abs_tol=1e-9)


@given(joint=SCORES, marginal=SCORES)
def test_never_tells_more_than_donsker_varadhan_of_the_same_scores(joint, marginal):
    joint, marginal = float64(joint), float64(marginal)
    assert nwj_loss(joint, marginal) >= donsker_varadhan_loss(joint, marginal) - 1e-9


def test_tells_as_much_where_the_exponentials_average_to_e():
    joint, marginal = torch.randn(3, 4).double(), torch.randn(2, 3, 4).double()
    offset = 1 - marginal.exp().mean().log()
    torch.testing.assert_close(
        nwj_loss(joint + offset, marginal + offset), donsker_varadhan_loss(joint, marginal)
    )


@pytest.mark.parametrize(('score', 'expected'), [(1.0, 0.0), (0.0, math.exp(-1))])
def test_of_equal_scores(score, expected):
    loss = nwj_loss(torch.full((3, 4), score), torch.full((2, 3, 4), score))
    assert math.isclose(loss.item(), expected, rel_tol=1e-6, abs_tol=1e-7)


def test_gradient_is_that_of_finite_differences():
    joint = torch.randn(3, 4, dtype=torch.float64, requires_grad=True)
    marginal = torch.randn(2, 3, 4, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(nwj_loss, (joint, marginal))


@pytest.mark.parametrize('dtype', [torch.bfloat16, torch.float16])
def test_half_precision_scores_are_computed_in_float32(dtype):
    joint, marginal = (torch.randn(2, 999) * 2).to(dtype)
    loss = nwj_loss(joint, marginal)
    assert loss.dtype == torch.float32
    slow = slow_nwj(joint.double().tolist(), marginal.double().tolist())
    assert math.isclose(loss.item(), slow, rel_tol=1e-5)


def test_what_float32_can_hold_does_not_overflow_on_the_way():
    # e^89 is beyond float32; e^88 is not.
    loss = nwj_loss(torch.zeros(1), torch.full((1000,), 89.0))
    assert math.isclose(loss.item(), math.exp(88), rel_tol=1e-4)


@pytest.mark.parametrize(('joint', 'marginal'), [((0, 4), (3, 4)), ((3, 4), (0,))])
def test_an_empty_side_is_refused_with_its_shape(joint, marginal):
    with pytest.raises(InputError, match=r'nwj_loss needs .*\(0,'):
        nwj_loss(torch.zeros(joint), torch.zeros(marginal))
