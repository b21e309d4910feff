from collections.abc import Sequence

from torch import Tensor

from mmmuse.arguments import NonNegativeFloat
from mmmuse.functional import pkd_loss
from mmmuse.registry import MODELS
from mmmuse.tapping.features import NetworkSpecs, Step

from .dense_loss import DenseLoss


@MODELS.register_module()
class PKDLoss(DenseLoss):
    """PKD: the channels of each map are to correlate with the teacher's.

    The teacher may be a detector of another kind: the loss ignores scale and shift. See
    :func:`mmmuse.functional.pkd_loss` for the formula.

    Args:
        learner: Shapes of the network that learns; inferred.
        source: Shapes of the network that it learns from; inferred.
        loss_weight: Factor on the sum over the modules; 6 in the public code (as remembered: assumed).
        modules: Modules that are compared, from 1; see :class:`mmmuse.losses.FeatureLoss`.
        resize: Whether maps of different strides are compared; see :class:`mmmuse.losses.DenseLoss`.

    Returns:
        ``loss_pkd``.

    Source: "PKD: General Distillation Framework for Object Detectors via Pearson Correlation
    Coefficient" (Cao et al., NeurIPS 2022).
    """

    def __init__(
        self,
        learner: NetworkSpecs,
        source: NetworkSpecs,
        loss_weight: NonNegativeFloat = 6.0,
        modules: Sequence[int] | None = None,
        resize: bool = False,
    ) -> None:
        super().__init__(learner, source, loss_weight, modules, resize)

    def forward(self, step: Step) -> dict[str, Tensor]:
        """Return ``loss_pkd``."""
        total = sum(pkd_loss(*pair) for pair in self.map_pairs(step))
        return {'loss_pkd': self.weight(step) * total}
