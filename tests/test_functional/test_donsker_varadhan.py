import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from mmmuse.errors import InputError
from mmmuse.functional import donsker_varadhan_loss

SCORES = st.lists(st.floats(-30, 30), min_size=1, max_size=12)


def slow_donsker_varadhan(joint: list[float], marginal: list[float]) -> float:
    mean = sum(joint) / len(joint)
    mean_exp = sum(math.exp(score) for score in marginal) / len(marginal)
    return -(mean - math.log(mean_exp))


def float64(scores: list[float]) -> torch.Tensor:
    return torch.tensor(scores, dtype=torch.float64)


@given(joint=SCORES, marginal=SCORES)
def test_equals_a_slow_loop_over_the_formula(joint, marginal):
    loss = donsker_varadhan_loss(float64(joint), float64(marginal))
    assert loss.dtype == torch.float64
    slow = slow_donsker_varadhan(joint, marginal)
    assert math.isclose(loss.item(), slow, rel_tol=1e-9, abs_tol=1e-12)


@given(joint=SCORES, marginal=SCORES, average=st.floats(-5, 5))
def test_a_moving_average_does_not_change_the_value(joint, marginal, average):
    joint, marginal = float64(joint), float64(marginal)
    loss = donsker_varadhan_loss(joint, marginal, float64(average))
    torch.testing.assert_close(loss, donsker_varadhan_loss(joint, marginal))


@given(joint=SCORES, marginal=SCORES, average=st.floats(-5, 5))
def test_a_moving_average_is_the_denominator_of_the_gradient(joint, marginal, average):
    joint_scores, marginal_scores = float64(joint), float64(marginal)
    joint_scores.requires_grad_()
    marginal_scores.requires_grad_()
    donsker_varadhan_loss(joint_scores, marginal_scores, float64(average)).backward()
    for grad in joint_scores.grad:
        assert math.isclose(grad, -1 / len(joint), rel_tol=1e-12)
    for grad, score in zip(marginal_scores.grad, marginal):
        expected = math.exp(score) / len(marginal) / math.exp(average)
        assert math.isclose(grad, expected, rel_tol=1e-9, abs_tol=1e-12)


def test_the_moving_average_itself_gets_no_gradient():
    average = torch.zeros((), requires_grad=True)
    marginal = torch.ones(3, requires_grad=True)
    donsker_varadhan_loss(torch.ones(2), marginal, average).backward()
    assert average.grad is None


def test_the_batchs_own_mean_gives_the_plain_gradient():
    joint, marginal = torch.randn(3, 4).double(), torch.randn(2, 3, 4).double().requires_grad_()
    own = marginal.detach().exp().mean().log()
    found, expected = (
        torch.autograd.grad(donsker_varadhan_loss(joint, marginal, average), marginal)[0]
        for average in (own, None)
    )
    torch.testing.assert_close(found, expected)


def test_a_constant_of_all_scores_does_not_count():
    joint, marginal = torch.randn(3, 4).double(), torch.randn(2, 3, 4).double()
    torch.testing.assert_close(
        donsker_varadhan_loss(joint + 7, marginal + 7), donsker_varadhan_loss(joint, marginal)
    )
    assert donsker_varadhan_loss(torch.full((3,), 7.0), torch.full((5,), 7.0)) == 0


def test_gradient_is_that_of_finite_differences():
    joint = torch.randn(3, 4, dtype=torch.float64, requires_grad=True)
    marginal = torch.randn(2, 3, 4, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(donsker_varadhan_loss, (joint, marginal))


@pytest.mark.parametrize('dtype', [torch.bfloat16, torch.float16])
@pytest.mark.parametrize('average', [None, torch.tensor(1.0)])
def test_half_precision_scores_are_computed_in_float32(dtype, average):
    joint, marginal = (torch.randn(2, 999) * 4).to(dtype)
    loss = donsker_varadhan_loss(joint, marginal, average)
    assert loss.dtype == torch.float32
    slow = slow_donsker_varadhan(joint.double().tolist(), marginal.double().tolist())
    assert math.isclose(loss.item(), slow, rel_tol=1e-5)


@pytest.mark.parametrize('average', [None, 0.0])
def test_very_large_scores_stay_finite(average):
    marginal = torch.tensor([1e4], requires_grad=True)
    loss = donsker_varadhan_loss(
        torch.tensor([-1e4]), marginal, None if average is None else torch.tensor(average)
    )
    assert math.isclose(loss.item(), 2e4, rel_tol=1e-6)
    loss.backward()
    assert marginal.grad.isfinite()


@pytest.mark.parametrize(('joint', 'marginal'), [((0, 4), (3, 4)), ((3, 4), (0,))])
def test_an_empty_side_is_refused_with_its_shape(joint, marginal):
    with pytest.raises(InputError, match=r'donsker_varadhan_loss needs .*\(0,'):
        donsker_varadhan_loss(torch.zeros(joint), torch.zeros(marginal))
