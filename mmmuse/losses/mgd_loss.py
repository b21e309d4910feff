from collections.abc import Sequence

from torch import Tensor, nn

from mmmuse.arguments import Fraction, NonNegativeFloat
from mmmuse.functional import masked_locations, mgd_loss
from mmmuse.registry import MODELS
from mmmuse.tapping.features import NetworkSpecs, Step

from .dense_loss import DenseLoss


@MODELS.register_module()
class MGDLoss(DenseLoss):
    r"""MGD: the teacher's map is generated from the student's, of which random locations are masked.

    .. math::
        L = \alpha \sum_l \frac{1}{N} \big\| T_l - G_l(f_l(S_l) \cdot M_l) \big\|_2^2,
        \quad G(x) = W_2 * \mathrm{ReLU}(W_1 * x)

    with two 3x3 convolutions for each module. See :func:`mmmuse.functional.masked_locations` and
    :func:`mmmuse.functional.mgd_loss`. The convolutions map the features to the targets, and
    are trained with the loss.

    Args:
        learner: Shapes of the network that learns; inferred.
        source: Shapes of the network that it learns from; inferred.
        mask_ratio: Part of the locations that is masked, 0 to 1; 0.65 in the paper for detectors of one
            stage, 0.45 of two, 0.75 for segmenters.
        loss_weight: Factor on the sum over the modules; 2e-5 in the paper for detectors of one stage and
            for segmenters, 5e-7 for detectors of two.
        modules: Modules that are compared, from 1; see :class:`mmmuse.losses.FeatureLoss`.
        resize: Whether maps of different strides are compared; see :class:`mmmuse.losses.DenseLoss`.

    Returns:
        ``loss_mgd``.

    Source: "Masked Generative Distillation" (Yang et al., ECCV 2022), equations 2 to 5. Its constants
    are given as remembered: assumed.
    """

    def __init__(
        self,
        learner: NetworkSpecs,
        source: NetworkSpecs,
        mask_ratio: Fraction = 0.65,
        loss_weight: NonNegativeFloat = 2e-5,
        modules: Sequence[int] | None = None,
        resize: bool = False,
    ) -> None:
        super().__init__(learner, source, loss_weight, modules, resize)
        self.mask_ratio = mask_ratio
        self.generators = nn.ModuleList(
            nn.Sequential(
                nn.Conv2d(spec.channels, spec.channels, 3, padding=1),
                nn.ReLU(inplace=True),
                nn.Conv2d(spec.channels, spec.channels, 3, padding=1),
            )
            for spec in self.target_specs
        )

    def forward(self, step: Step) -> dict[str, Tensor]:
        """Return ``loss_mgd``."""
        total = 0.0
        for generator, (local, target) in zip(self.generators, self.map_pairs(step), strict=True):
            masked = masked_locations(local, self.mask_ratio).to(generator[0].weight)
            total = total + mgd_loss(generator(masked), target)
        return {'loss_mgd': self.weight(step) * total}
