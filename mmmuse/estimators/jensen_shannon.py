import math
from typing import ClassVar

from torch import Tensor, nn

from mmmuse.critics import CriticScores
from mmmuse.functional import jsd_critic_loss, nwj_loss
from mmmuse.functional.precision import at_least_float32
from mmmuse.registry import MODELS

from .information_estimator import InformationEstimator


@MODELS.register_module()
class JensenShannon(InformationEstimator):
    """The Jensen-Shannon estimator of MUSE; see :func:`mmmuse.functional.jsd_critic_loss`.

    Its loss decreases with the information but is not an estimate in nats: it is positive, and at
    most 2 log 2 for a trained critic. The critic's ``jsd_loss`` computes it, which may be faster than
    computing it from the scores.

    Source: MUSE (Gong et al., BMVC 2021), equation 5; Deep InfoMax (Hjelm et
    al., ICLR 2019), equation 4.
    """

    uninformed_loss: ClassVar[float | None] = 2 * math.log(2)

    def forward(
        self,
        critic: nn.Module,
        local: Tensor,
        global_vector: Tensor,
        gradient_scale: float = 1.0,
    ) -> Tensor:
        """Return the critic's ``jsd_loss``."""
        return critic.jsd_loss(local, global_vector, gradient_scale)

    def loss(self, scores: CriticScores) -> Tensor:
        """Return the loss of a batch's scores, a scalar."""
        return jsd_critic_loss(*scores)

    def estimate(self, scores: CriticScores) -> Tensor:
        """Return the bound of Nguyen, Wainwright and Jordan at the scores plus 1, a scalar.

        The optimal critic of this loss scores the logarithm of the density ratio; the bound is
        tight at that plus 1.

        Source: "On variational bounds of mutual information" (Poole et al.,
        ICML 2019), where it is called :math:`I_{JS}`.
        """
        return -nwj_loss(*(at_least_float32(side) + 1 for side in scores))
