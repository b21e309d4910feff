import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from mmmuse.errors import InputError
from mmmuse.functional import infonce_loss


def scores(num_negatives, num_images, num_locations, seed=0, scale=1.0):
    generator = torch.Generator().manual_seed(seed)
    everyone = torch.randn(
        num_negatives + 1, num_images, num_locations, dtype=torch.float64, generator=generator
    )
    return scale * everyone[0], scale * everyone[1:]


def slow_infonce(joint: list, marginal: list) -> float:
    total, count = 0.0, 0
    for n, row in enumerate(joint):
        for s, score in enumerate(row):
            others = sum(math.exp(negative[n][s]) for negative in marginal)
            total -= math.log(math.exp(score) / (math.exp(score) + others))
            count += 1
    return total / count


@given(st.integers(1, 4), st.integers(1, 4), st.integers(1, 3), st.integers(0, 2**16))
def test_equals_a_slow_loop_over_the_formula(num_negatives, num_images, num_locations, seed):
    joint, marginal = scores(num_negatives, num_images, num_locations, seed, scale=3.0)
    loss = infonce_loss(joint, marginal)
    assert loss.dtype == torch.float64
    assert math.isclose(loss.item(), slow_infonce(joint.tolist(), marginal.tolist()), rel_tol=1e-9)


@given(st.integers(0, 2**16))
def test_is_positive_and_falls_when_true_pairs_score_higher(seed):
    joint, marginal = scores(3, 4, 2, seed, scale=5.0)
    assert infonce_loss(joint, marginal) > 0
    assert infonce_loss(joint + 1, marginal) < infonce_loss(joint, marginal)
    assert infonce_loss(joint, marginal + 1) > infonce_loss(joint, marginal)


@pytest.mark.parametrize('num_negatives', [1, 3, 127])
def test_a_critic_that_knows_nothing_gives_the_logarithm_of_the_candidates(num_negatives):
    loss = infonce_loss(torch.zeros(2, 3), torch.zeros(num_negatives, 2, 3))
    assert math.isclose(loss.item(), math.log(num_negatives + 1), rel_tol=1e-6)


def test_a_constant_of_each_true_pair_and_its_others_does_not_count():
    joint, marginal = scores(3, 4, 2)
    constant = torch.randn(4, 2, dtype=torch.float64)
    torch.testing.assert_close(
        infonce_loss(joint + constant, marginal + constant), infonce_loss(joint, marginal)
    )


def test_gradient_is_that_of_finite_differences():
    joint, marginal = (side.requires_grad_() for side in scores(3, 4, 2))
    assert torch.autograd.gradcheck(infonce_loss, (joint, marginal))


@pytest.mark.parametrize('dtype', [torch.bfloat16, torch.float16])
def test_half_precision_scores_are_computed_in_float32(dtype):
    joint, marginal = (side.to(dtype) for side in scores(5, 30, 9, scale=4.0))
    loss = infonce_loss(joint, marginal)
    assert loss.dtype == torch.float32
    slow = slow_infonce(joint.double().tolist(), marginal.double().tolist())
    assert math.isclose(loss.item(), slow, rel_tol=1e-5)


@pytest.mark.parametrize(('gap', 'expected'), [(-1e4, 1e4), (50.0, math.exp(-50))])
def test_scores_far_apart_neither_overflow_nor_round_to_nothing(gap, expected):
    loss = infonce_loss(torch.tensor([[200.0 + gap]]), torch.tensor([[[200.0]]]))
    assert math.isclose(loss.item(), expected, rel_tol=1e-5)


@pytest.mark.parametrize(('joint', 'marginal'), [((0, 4), (3, 0, 4)), ((3, 4), (0, 3, 4))])
def test_an_empty_side_is_refused_with_its_shape(joint, marginal):
    with pytest.raises(InputError, match=r'infonce_loss needs at least one .*\(.*0,'):
        infonce_loss(torch.zeros(joint), torch.zeros(marginal))


@pytest.mark.parametrize('marginal', [(3, 4), (5, 4, 3), (5, 3, 1)])
def test_others_of_another_shape_are_refused(marginal):
    with pytest.raises(InputError, match=r'\(N, S\) with K others .* \(3, 4\) and'):
        infonce_loss(torch.zeros(3, 4), torch.zeros(marginal))
