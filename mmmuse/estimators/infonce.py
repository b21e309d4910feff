import math

from torch import Tensor

from mmmuse.critics import CriticScores
from mmmuse.functional import infonce_loss
from mmmuse.registry import MODELS

from .information_estimator import InformationEstimator


@MODELS.register_module()
class InfoNCE(InformationEstimator):
    """Classification of the true partner among K others; see :func:`mmmuse.functional.infonce_loss`.

    The loss is positive. Its estimate of the information is at most log(K + 1): log 2 with a
    critic's ``negatives='roll'``, the logarithm of the batch size with ``negatives='all'``. Views
    that share more than that give a small loss and a small gradient.

    Source: "Representation Learning with Contrastive Predictive Coding" (van
    den Oord et al., 2018), equation 4; "On variational bounds of mutual
    information" (Poole et al., ICML 2019) for the bound.
    """

    def loss(self, scores: CriticScores) -> Tensor:
        """Return the loss of a batch's scores, a scalar."""
        return infonce_loss(*scores)

    def estimate(self, scores: CriticScores) -> Tensor:
        """Return log(K + 1) minus the loss, a scalar in nats."""
        return math.log(len(scores.marginal) + 1) - self.loss(scores)
