from collections.abc import Sequence

from torch import Tensor

from mmmuse.arguments import NonNegativeFloat, PositiveFloat
from mmmuse.functional import cwd_loss
from mmmuse.registry import MODELS
from mmmuse.tapping.features import NetworkSpecs, Step

from .dense_loss import DenseLoss


@MODELS.register_module()
class CWDLoss(DenseLoss):
    """Channel-wise distillation: each channel is to be active where the teacher's is.

    For detectors (levels of the pyramid) and segmenters (features, or the scores of the classes). See
    :func:`mmmuse.functional.cwd_loss` for the formula.

    Args:
        learner: Shapes of the network that learns; inferred.
        source: Shapes of the network that it learns from; inferred.
        temperature: Above 0; 4 in the paper on segmentation. For detectors 1 is common.
        loss_weight: Factor on the sum over the modules. The paper takes 50 for features and 3 for the
            scores of a segmenter (both as remembered: assumed).
        modules: Modules that are compared, from 1; see :class:`mmmuse.losses.FeatureLoss`.
        resize: Whether maps of different strides are compared; see :class:`mmmuse.losses.DenseLoss`.

    Returns:
        ``loss_cwd``.

    Source: "Channel-wise Knowledge Distillation for Dense Prediction" (Shu et al., ICCV 2021).
    """

    def __init__(
        self,
        learner: NetworkSpecs,
        source: NetworkSpecs,
        temperature: PositiveFloat = 4.0,
        loss_weight: NonNegativeFloat = 50.0,
        modules: Sequence[int] | None = None,
        resize: bool = False,
    ) -> None:
        super().__init__(learner, source, loss_weight, modules, resize)
        self.temperature = temperature

    def forward(self, step: Step) -> dict[str, Tensor]:
        """Return ``loss_cwd``."""
        total = sum(cwd_loss(*pair, self.temperature) for pair in self.map_pairs(step))
        return {'loss_cwd': self.weight(step) * total}
