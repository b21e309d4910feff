from torch import Tensor

from mmmuse.arguments import NonNegativeFloat, PositiveFloat
from mmmuse.functional import kd_loss
from mmmuse.registry import MODELS
from mmmuse.tapping.features import NetworkSpecs, Step

from .logit_loss import LogitLoss


@MODELS.register_module()
class KDLoss(LogitLoss):
    """Distillation of logits at a temperature; see :func:`mmmuse.functional.kd_loss`.

    Args:
        learner: Shapes of the network that learns; inferred.
        source: Shapes of the network that it learns from; inferred. Its logits are detached.
        temperature: Above 0. The paper does not give this; 3 is BYOT's.
        loss_weight: Factor on the loss.
        standardize: Whether logits are standardized first; see :class:`mmmuse.losses.LogitLoss`.

    Returns:
        ``loss_kd``.

    Raises:
        InputError: If the temperature is not positive.
    """

    def __init__(
        self,
        learner: NetworkSpecs,
        source: NetworkSpecs,
        temperature: PositiveFloat = 3.0,
        loss_weight: NonNegativeFloat = 1.0,
        standardize: bool = False,
    ) -> None:
        super().__init__(learner, source, loss_weight, standardize)
        self.temperature = temperature

    def forward(self, step: Step) -> dict[str, Tensor]:
        """Return ``loss_kd``."""
        loss = kd_loss(*self.logits(step), self.temperature)
        return {'loss_kd': self.weight(step) * loss}
