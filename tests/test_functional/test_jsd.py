import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from mmmuse.errors import InputError
from mmmuse.functional import jsd_critic_loss

SCORES = st.lists(st.floats(-30, 30), min_size=1, max_size=12)


def slow_jsd(joint: list[float], marginal: list[float]) -> float:
    total = 0.0
    for score in marginal:
        total += math.log(1 + math.exp(score)) / len(marginal)
    for score in joint:
        total += math.log(1 + math.exp(-score)) / len(joint)
    return total


@given(joint=SCORES, marginal=SCORES)
def test_equals_a_slow_loop_over_the_formula(joint, marginal):
    loss = jsd_critic_loss(
        torch.tensor(joint, dtype=torch.float64), torch.tensor(marginal, dtype=torch.float64)
    )
    assert loss.dtype == torch.float64
    assert math.isclose(loss.item(), slow_jsd(joint, marginal), rel_tol=1e-9, abs_tol=1e-12)


@given(joint=SCORES, marginal=SCORES)
def test_is_positive_and_falls_when_true_pairs_score_higher(joint, marginal):
    joint, marginal = (torch.tensor(scores, dtype=torch.float64) for scores in (joint, marginal))
    assert jsd_critic_loss(joint, marginal) > 0
    assert jsd_critic_loss(joint + 1, marginal) < jsd_critic_loss(joint, marginal)
    assert jsd_critic_loss(joint, marginal + 1) > jsd_critic_loss(joint, marginal)


def test_a_critic_that_knows_nothing_gives_two_log_two():
    loss = jsd_critic_loss(torch.zeros(4, 9), torch.zeros(12, 9))
    assert math.isclose(loss.item(), 2 * math.log(2), rel_tol=1e-6)


def test_means_weigh_scores_equally_whatever_their_shapes():
    joint, marginal = torch.randn(2, 3), torch.randn(4, 5)
    assert torch.equal(
        jsd_critic_loss(joint, marginal), jsd_critic_loss(joint.flatten(), marginal.flatten())
    )


def test_gradient_is_that_of_finite_differences():
    joint = torch.randn(3, 4, dtype=torch.float64, requires_grad=True)
    marginal = torch.randn(5, 4, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(jsd_critic_loss, (joint, marginal))


@pytest.mark.parametrize('dtype', [torch.bfloat16, torch.float16])
@pytest.mark.parametrize('halved', ['joint', 'marginal', 'both'])
def test_half_precision_scores_are_computed_in_float32(dtype, halved):
    joint, marginal = torch.randn(999) * 4, torch.randn(999) * 4
    if halved != 'marginal':
        joint = joint.to(dtype)
    if halved != 'joint':
        marginal = marginal.to(dtype)
    loss = jsd_critic_loss(joint, marginal)
    assert loss.dtype == torch.float32
    # bfloat16 arithmetic would be off by about 1e-2.
    slow = slow_jsd(joint.double().tolist(), marginal.double().tolist())
    assert math.isclose(loss.item(), slow, rel_tol=1e-5)


def test_very_large_scores_stay_finite():
    loss = jsd_critic_loss(torch.tensor([-1e4]), torch.tensor([1e4]))
    assert math.isclose(loss.item(), 2e4, rel_tol=1e-6)


@pytest.mark.parametrize(('joint', 'marginal'), [((0, 4), (3, 4)), ((3, 4), (0,))])
def test_an_empty_side_is_refused_with_its_shape(joint, marginal):
    with pytest.raises(InputError, match=r'\(0,'):
        jsd_critic_loss(torch.zeros(joint), torch.zeros(marginal))
