import math

import pytest
import torch

from mmmuse.critics import CriticScores, GlobalLocalCritic
from mmmuse.estimators import InfoNCE


def certain(num_others: int) -> CriticScores:
    return CriticScores(torch.full((6, 2), 100.0), torch.full((num_others, 6, 2), -100.0))


@pytest.mark.parametrize('num_others', [1, 5])
def test_a_certain_critic_tells_the_logarithm_of_the_candidates(num_others):
    estimate = InfoNCE().estimate(certain(num_others)).item()
    assert estimate == pytest.approx(math.log(num_others + 1), rel=1e-6)


@pytest.mark.parametrize(('negatives', 'bound'), [('roll', math.log(2)), ('all', math.log(6))])
def test_its_bound_is_that_of_the_critics_negatives(negatives, bound):
    critic = GlobalLocalCritic(2, 2, hidden_channels=4, negatives=negatives)
    scores = critic(torch.randn(6, 2), torch.randn(6, 2))
    told = InfoNCE().estimate(scores) + InfoNCE().loss(scores)
    assert told.item() == pytest.approx(bound, rel=1e-6)
