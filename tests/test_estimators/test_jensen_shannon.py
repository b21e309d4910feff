import torch
from torch import nn

from mmmuse.critics import CriticScores
from mmmuse.estimators import JensenShannon


class FusedAlone(nn.Module):
    def jsd_loss(self, local, global_vector, gradient_scale=1.0):
        return (local * global_vector).sum()


def test_a_call_goes_by_the_critics_own_loss_and_makes_no_scores():
    loss = JensenShannon()(FusedAlone(), torch.tensor([2.0, 1.0]), torch.tensor([3.0, 5.0]))
    assert loss == 11


def test_has_no_state():
    assert JensenShannon().state_dict() == {}


def test_a_critic_that_knows_nothing_tells_nothing():
    assert JensenShannon().estimate(CriticScores(torch.zeros(4, 1), torch.zeros(3, 4, 1))) == 0


def test_half_precision_scores_are_read_in_float32():
    scores = torch.full((4, 1), 3.0), torch.full((3, 4, 1), -3.0)
    halved = CriticScores(*(side.bfloat16() for side in scores))
    torch.testing.assert_close(
        JensenShannon().estimate(halved), JensenShannon().estimate(CriticScores(*scores))
    )
