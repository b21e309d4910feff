from torch import Tensor

from mmmuse.arguments import NonNegativeFloat, PositiveFloat
from mmmuse.functional import kd_loss
from mmmuse.registry import MODELS
from mmmuse.tapping.features import NetworkSpecs, Step

from .logit_loss import LogitLoss


@MODELS.register_module()
class KDCLLoss(LogitLoss):
    """KDCL: each peer imitates the mean of all peers' logits, its own among them.

    See :func:`mmmuse.functional.kd_loss` for the formula. Half of the loss is KD, half
    cross-entropy: ``own_weight=0.5`` in the distiller.

    Args:
        learner: Shapes of the network that learns; inferred.
        source: Shapes of the network that it learns from; inferred.
        temperature: Above 0.
        loss_weight: Factor on the loss.
        standardize: Whether logits are standardized first; see :class:`mmmuse.losses.LogitLoss`.

    Returns:
        ``loss_kdcl``.

    Raises:
        InputError: If the temperature is not above 0, or there are no peers.

    Source: "Online Knowledge Distillation via Collaborative Learning" (Guo et al., CVPR
    2020). Its ways of mixing are several; the mean is the one of MUSE's comparison.
    """

    reads = frozenset({'logits', 'ensemble'})

    def __init__(
        self,
        learner: NetworkSpecs,
        source: NetworkSpecs,
        temperature: PositiveFloat = 4.0,
        loss_weight: NonNegativeFloat = 0.5,
        standardize: bool = False,
    ) -> None:
        super().__init__(learner, source, loss_weight, standardize)
        self.temperature = temperature

    def source_logits(self, step: Step) -> Tensor:
        """Return the mean of all peers' logits."""
        return step.ensemble_logits

    def forward(self, step: Step) -> dict[str, Tensor]:
        """Return ``loss_kdcl``."""
        loss = kd_loss(*self.logits(step), self.temperature)
        return {'loss_kdcl': self.weight(step) * loss}
