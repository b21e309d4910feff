"""What holds for every estimator."""

import math

import pytest
import torch

from mmmuse.critics import CriticScores, GlobalLocalCritic
from mmmuse.estimators import NWJ, DonskerVaradhan, InfoNCE, JensenShannon
from mmmuse.functional import donsker_varadhan_loss, infonce_loss, jsd_critic_loss, nwj_loss
from mmmuse.registry import MODELS

LOSSES = [
    (JensenShannon, jsd_critic_loss),
    (InfoNCE, infonce_loss),
    (DonskerVaradhan, donsker_varadhan_loss),
    (NWJ, nwj_loss),
]
ESTIMATORS = [estimator for estimator, _ in LOSSES]


def critic_and_views(**options):
    critic = GlobalLocalCritic(3, 5, hidden_channels=8, **options).double()
    return critic, torch.randn(6, 3, 2, 2).double(), torch.randn(6, 5).double()


def random_scores() -> CriticScores:
    return CriticScores(torch.randn(6, 4).double(), torch.randn(5, 6, 4).double())


@pytest.mark.parametrize(('estimator', 'formula'), LOSSES)
@pytest.mark.parametrize('architecture', ['concat', 'dot'])
@pytest.mark.parametrize('negatives', ['roll', 'all'])
def test_a_call_is_the_formula_on_the_critics_scores(estimator, formula, architecture, negatives):
    critic, local, global_vector = critic_and_views(architecture=architecture, negatives=negatives)
    loss = estimator()(critic, local, global_vector)
    expected = formula(*critic(local, global_vector))
    torch.testing.assert_close(loss, expected)
    parameters = list(critic.parameters())
    for grad, wanted in zip(
        torch.autograd.grad(loss, parameters), torch.autograd.grad(expected, parameters)
    ):
        torch.testing.assert_close(grad, wanted)


@pytest.mark.parametrize('estimator', ESTIMATORS)
def test_a_config_names_it(estimator):
    assert type(MODELS.build(dict(type=f'mmmuse.{estimator.__name__}'))) is estimator


@pytest.mark.parametrize('estimator', ESTIMATORS)
@pytest.mark.parametrize('gap', [-20.0, -2.0, 0.0, 2.0, 20.0])
def test_its_factor_is_positive_and_falls_as_the_loss_does(estimator, gap):
    estimator, (joint, marginal) = estimator().eval(), random_scores()
    weaker = estimator.factor(estimator.loss(CriticScores(joint + gap, marginal)))
    stronger = estimator.factor(estimator.loss(CriticScores(joint + gap + 1, marginal)))
    assert 0 < stronger < weaker


@pytest.mark.parametrize('estimator', [JensenShannon, InfoNCE])
def test_a_loss_that_is_positive_is_its_own_factor(estimator):
    loss = torch.tensor(0.7)
    assert torch.equal(estimator().factor(loss), loss)


@pytest.mark.parametrize('estimator', [DonskerVaradhan, NWJ])
@pytest.mark.parametrize('loss', [-3.0, 0.0, 2.0])
def test_a_loss_without_a_lower_end_has_its_softplus_as_a_factor(estimator, loss):
    factor = estimator().factor(torch.tensor(loss, dtype=torch.float64))
    assert factor.item() == pytest.approx(math.log(1 + math.exp(loss)), rel=1e-12)


@pytest.mark.parametrize('estimator', ESTIMATORS)
def test_the_best_critic_of_a_known_distribution_tells_its_information(estimator):
    # Two coins that agree with probability 0.9, each pair as often as it comes: of ten true ones
    # nine agree, of two mismatched ones one does.
    agree, differ = math.log(0.9 / 0.5), math.log(0.1 / 0.5)
    information = 0.9 * agree + 0.1 * differ
    joint = torch.tensor([[agree]] * 9 + [[differ]], dtype=torch.float64)
    marginal = torch.tensor([[[agree]] * 10, [[differ]] * 10], dtype=torch.float64)
    if estimator is NWJ:
        joint, marginal = joint + 1, marginal + 1
    estimate = estimator().estimate(CriticScores(joint, marginal)).item()
    if estimator is InfoNCE:
        # e^T is 1.8 or 0.2, and the two others are one of each.
        told = 0.9 * math.log(1.8 / 3.8) + 0.1 * math.log(0.2 / 2.2) + math.log(3)
        assert estimate == pytest.approx(told, rel=1e-12)
        assert estimate < information
    else:
        assert estimate == pytest.approx(information, rel=1e-12)


@pytest.mark.parametrize('estimator', ESTIMATORS)
@pytest.mark.parametrize('negatives', ['roll', 'all'])
def test_under_autocast_the_loss_is_float32_and_close(estimator, negatives):
    critic, local, global_vector = critic_and_views(negatives=negatives)
    critic, local, global_vector = critic.float(), local.float(), global_vector.float()
    expected = estimator()(critic, local, global_vector)
    with torch.autocast('cpu', torch.bfloat16):
        loss = estimator()(critic, local, global_vector)
    assert loss.dtype == torch.float32
    torch.testing.assert_close(loss, expected, rtol=2e-2, atol=2e-2)
    loss.backward()
    assert all(parameter.grad.isfinite().all() for parameter in critic.parameters())
