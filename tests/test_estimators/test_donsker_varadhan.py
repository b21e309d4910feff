import math

import pytest
import torch

from mmmuse.critics import CriticScores
from mmmuse.errors import InputError
from mmmuse.estimators import DonskerVaradhan
from mmmuse.functional import donsker_varadhan_loss


def scores_of_mean_exp(mean_exp: float) -> CriticScores:
    """Scores whose exponentials average to a number over the mismatched pairs."""
    marginal = torch.tensor([0.5, 1.5]).mul(mean_exp).log().double()
    return CriticScores(torch.ones(1, 2).double(), marginal.view(1, 1, 2).requires_grad_())


def average_of(estimator: DonskerVaradhan) -> float:
    return estimator.log_mean_exp.exp().item()


def test_the_first_batch_starts_the_average_and_later_ones_move_it():
    estimator = DonskerVaradhan(momentum=0.25).double()
    for mean_exp, average in [(8.0, 8.0), (4.0, 7.0), (15.0, 9.0)]:
        estimator.loss(scores_of_mean_exp(mean_exp))
        assert average_of(estimator) == pytest.approx(average, rel=1e-6)
    assert estimator.num_batches == 3


@pytest.mark.parametrize(('momentum', 'average'), [(0.25, 7.0), (1, 4.0), (1.0, 4.0)])
def test_the_average_is_the_gradients_denominator(momentum, average):
    estimator = DonskerVaradhan(momentum).double()
    estimator.loss(scores_of_mean_exp(8.0))
    scores = scores_of_mean_exp(4.0)
    estimator.loss(scores).backward()
    # e^T / 2 scores / average, with e^T = 2 and 6.
    expected = torch.tensor([2.0, 6.0]).double() / 2 / average
    torch.testing.assert_close(scores.marginal.grad.flatten(), expected, rtol=1e-6, atol=0)


def test_the_value_is_the_batchs():
    estimator = DonskerVaradhan().double()
    estimator.loss(scores_of_mean_exp(100.0))
    loss = estimator.loss(scores_of_mean_exp(4.0)).item()
    assert loss == pytest.approx(math.log(4) - 1, rel=1e-6)
    assert estimator.estimate(scores_of_mean_exp(4.0)).item() == pytest.approx(-loss, rel=1e-6)


def test_no_momentum_is_the_plain_gradient_without_state():
    estimator = DonskerVaradhan(momentum=None).double()
    assert estimator.state_dict() == {}
    estimator.loss(scores_of_mean_exp(100.0))
    found, wanted = scores_of_mean_exp(4.0), scores_of_mean_exp(4.0)
    estimator.loss(found).backward()
    donsker_varadhan_loss(*wanted).backward()
    torch.testing.assert_close(found.marginal.grad, wanted.marginal.grad)


def test_eval_mode_and_estimates_do_not_change_the_average():
    estimator = DonskerVaradhan().double()
    estimator.loss(scores_of_mean_exp(8.0))
    before = {name: value.clone() for name, value in estimator.state_dict().items()}
    estimator.estimate(scores_of_mean_exp(3.0))
    estimator.eval()
    scores = scores_of_mean_exp(3.0)
    estimator.loss(scores).backward()
    for name, value in estimator.state_dict().items():
        assert torch.equal(value, before[name]), name
    # The batch's own: the weights of a softmax.
    torch.testing.assert_close(
        scores.marginal.grad.flatten(), torch.tensor([0.25, 0.75]).double(), rtol=1e-6, atol=0
    )


def test_the_average_comes_back_with_the_weights():
    estimator, other = DonskerVaradhan(0.25).double(), DonskerVaradhan(0.25).double()
    estimator.loss(scores_of_mean_exp(8.0))
    other.load_state_dict(estimator.state_dict())
    other.loss(scores_of_mean_exp(4.0))
    assert average_of(other) == pytest.approx(7.0, rel=1e-6)


def test_averages_too_large_for_an_exponential_stay_finite():
    estimator = DonskerVaradhan(momentum=0.5)
    for score in (500.0, 400.0):
        estimator.loss(CriticScores(torch.ones(2, 1), torch.full((1, 2, 1), score)))
    assert estimator.log_mean_exp.item() == pytest.approx(500 - math.log(2), rel=1e-6)


def test_two_losses_before_one_backward_keep_their_own_denominators():
    estimator = DonskerVaradhan(momentum=0.5).double()
    first, second = scores_of_mean_exp(8.0), scores_of_mean_exp(4.0)
    (estimator.loss(first) + estimator.loss(second)).backward()
    for scores, values, average in [(first, [4.0, 12.0], 8.0), (second, [2.0, 6.0], 6.0)]:
        torch.testing.assert_close(
            scores.marginal.grad.flatten(),
            torch.tensor(values).double() / 2 / average,
            rtol=1e-6,
            atol=0,
        )


@pytest.mark.parametrize('momentum', [0, -0.1, 1.01, float('nan')])
def test_a_momentum_out_of_range_is_named(momentum):
    with pytest.raises(InputError, match=f'at most 1, got {momentum}'):
        DonskerVaradhan(momentum)


def test_in_a_model_of_bfloat16_the_average_still_moves():
    estimator = DonskerVaradhan(0.01).bfloat16()
    assert estimator.log_mean_exp.dtype == torch.float32
    estimator.loss(scores_of_mean_exp(100.0))
    for _ in range(100):
        estimator.loss(scores_of_mean_exp(50.0))
    # 0.99^100 of the way is left; in bfloat16 the first step would be rounded away.
    assert average_of(estimator) == pytest.approx(50 + 50 * 0.99**100, rel=1e-4)
