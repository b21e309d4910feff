from collections.abc import Sequence

from torch import Tensor

from mmmuse.arguments import NonNegativeFloat
from mmmuse.functional import mmd_loss
from mmmuse.registry import MODELS
from mmmuse.tapping.features import NetworkSpecs, Step

from .distill_loss import FeatureLoss


@MODELS.register_module()
class MMDLoss(FeatureLoss):
    """Maximum mean discrepancy between the channels of each shallow map and of the last one.

    See :func:`mmmuse.functional.mmd_loss` for the formula. It reads the raw maps:
    their channels may differ in number, so no exit is needed.

    Args:
        learner: Shapes of the network that learns; inferred.
        source: Shapes of the network that it learns from; inferred.
        loss_weight: Factor on the sum over the shallow modules. The paper does not
            give this; 50 is NST's in RepDistiller's public comparison.
        detach_last: Whether the last map is imitated only, as a teacher's is, and
            gets no gradient. The paper does not give this.
        modules: Modules that are compared, from 1; see :class:`mmmuse.losses.FeatureLoss`.

    Returns:
        ``loss_mmd``.

    Raises:
        InputError: If a feature is a vector.

    Source: NST (Huang and Wang, 2017); the MMD row of MUSE's table 6.
    """

    def __init__(
        self,
        learner: NetworkSpecs,
        source: NetworkSpecs,
        loss_weight: NonNegativeFloat = 50.0,
        detach_last: bool = True,
        modules: Sequence[int] | None = None,
    ) -> None:
        super().__init__(learner, source, loss_weight, modules)
        self.detach_last = detach_last

    def forward(self, step: Step) -> dict[str, Tensor]:
        """Return ``loss_mmd``."""
        total = sum(
            mmd_loss(local, target.detach() if self.detach_last else target)
            for local, target in self.pairs(step)
        )
        return {'loss_mmd': self.weight(step) * total}
