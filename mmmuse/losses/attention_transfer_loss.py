from collections.abc import Sequence

from torch import Tensor

from mmmuse.arguments import NonNegativeFloat
from mmmuse.functional import attention_transfer_loss
from mmmuse.registry import MODELS
from mmmuse.tapping.features import NetworkSpecs, Step

from .distill_loss import FeatureLoss


@MODELS.register_module()
class AttentionTransferLoss(FeatureLoss):
    """Attention transfer (AT): each map is to be large where its target is.

    See :func:`mmmuse.functional.attention_transfer_loss` for the formula. The
    targets give no gradient.

    Args:
        learner: Shapes of the network that learns; inferred.
        source: Shapes of the network that it learns from; inferred.
        loss_weight: Factor on the sum over the modules; 1000 in RepDistiller's
            public comparison.
        modules: Modules that are compared, from 1; see :class:`mmmuse.losses.FeatureLoss`.

    Returns:
        ``loss_at``.

    Source: "Paying More Attention to Attention" (Zagoruyko and Komodakis, ICLR 2017).
    """

    def __init__(
        self,
        learner: NetworkSpecs,
        source: NetworkSpecs,
        loss_weight: NonNegativeFloat = 1000.0,
        modules: Sequence[int] | None = None,
    ) -> None:
        super().__init__(learner, source, loss_weight, modules)

    def forward(self, step: Step) -> dict[str, Tensor]:
        """Return ``loss_at``."""
        total = sum(attention_transfer_loss(*pair) for pair in self.pairs(step))
        return {'loss_at': self.weight(step) * total}
