import math

import pytest
import torch

from mmmuse.critics import CriticScores
from mmmuse.estimators import NWJ


def test_the_estimate_is_minus_the_loss():
    # 2 - e^-1 e^0
    scores = CriticScores(torch.full((4, 1), 2.0), torch.zeros(3, 4, 1))
    assert NWJ().estimate(scores).item() == pytest.approx(2 - math.exp(-1), rel=1e-6)
    assert NWJ().loss(scores).item() == pytest.approx(math.exp(-1) - 2, rel=1e-6)


def test_has_no_state():
    assert NWJ().state_dict() == {}
