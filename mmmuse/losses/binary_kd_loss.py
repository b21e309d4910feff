from torch import Tensor

from mmmuse.arguments import NonNegativeFloat, PositiveFloat
from mmmuse.functional import binary_kd_loss
from mmmuse.registry import MODELS
from mmmuse.tapping.features import NetworkSpecs, Step

from .distill_loss import DistillLoss


@MODELS.register_module()
class BinaryKDLoss(DistillLoss):
    """Distillation of multi-label logits; see :func:`mmmuse.functional.binary_kd_loss`.

    Args:
        learner: Shapes of the network that learns; inferred.
        source: Shapes of the network that it learns from; inferred. Its logits are detached.
        temperature: Above 0; 1 in the source.
        loss_weight: Factor on the loss.

    Returns:
        ``loss_kd``.
    """

    reads = frozenset({'logits'})
    needs_two_networks = True
    reads_multi_label = True

    def __init__(
        self,
        learner: NetworkSpecs,
        source: NetworkSpecs,
        temperature: PositiveFloat = 1.0,
        loss_weight: NonNegativeFloat = 1.0,
    ) -> None:
        super().__init__(learner, source, loss_weight)
        self.temperature = temperature

    def forward(self, step: Step) -> dict[str, Tensor]:
        """Return ``loss_kd``."""
        loss = binary_kd_loss(step.learner.logits, step.source.logits, self.temperature)
        return {'loss_kd': self.weight(step) * loss}
