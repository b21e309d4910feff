import torch.nn.functional as F
from torch import Tensor

from mmmuse.critics import CriticScores
from mmmuse.functional import nwj_loss
from mmmuse.registry import MODELS

from .information_estimator import InformationEstimator


@MODELS.register_module()
class NWJ(InformationEstimator):
    """The bound of Nguyen, Wainwright and Jordan; see :func:`mmmuse.functional.nwj_loss`.

    The loss is unbounded below; for MUSE's product see :class:`DonskerVaradhan`.

    Source: Nguyen, Wainwright and Jordan (2010); "On variational bounds of
    mutual information" (Poole et al., ICML 2019), section 2.
    """

    def loss(self, scores: CriticScores) -> Tensor:
        """Return the loss of a batch's scores, a scalar."""
        return nwj_loss(*scores)

    def estimate(self, scores: CriticScores) -> Tensor:
        """Return the bound on these scores, a scalar in nats."""
        return -self.loss(scores)

    def factor(self, loss: Tensor) -> Tensor:
        """Return softplus of the loss, which is positive and increasing in it."""
        return F.softplus(loss)
