import torch.nn.functional as F
from torch import Tensor

from mmmuse.critics import CriticScores
from mmmuse.functional import nwj_loss
from mmmuse.registry import MODELS

from .information_estimator import InformationEstimator


@MODELS.register_module()
class NWJ(InformationEstimator):
    """The bound of Nguyen, Wainwright and Jordan; see :func:`mmmuse.functional.nwj_loss`.

    The loss has no lower end and is negative where the views share anything,
    while MUSE's product needs positive factors: there softplus of the loss
    stands for it. The paper does not give this; it uses the Jensen-Shannon loss
    alone.

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
        """Return softplus of the loss: positive, and falling with it."""
        return F.softplus(loss)
