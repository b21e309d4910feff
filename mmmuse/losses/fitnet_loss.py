from collections.abc import Sequence

import torch.nn.functional as F
from torch import Tensor, nn

from mmmuse.arguments import NonNegativeFloat
from mmmuse.functional import same_grid
from mmmuse.functional.precision import at_least_float32
from mmmuse.registry import MODELS
from mmmuse.tapping.features import NetworkSpecs, Step

from .distill_loss import FeatureLoss


@MODELS.register_module()
class FitNetLoss(FeatureLoss):
    r"""FitNets: a regressor on each map is to give its target.

    .. math::
        L = \sum_i \mathbb{E}\big[ (r_i(F_i) - t_i)^2 \big]

    with a 1x1 convolution and BN for each :math:`r_i`, the larger map pooled to the
    smaller grid. The targets give no gradient; the mean is taken in float32.

    Args:
        learner: Shapes of the network that learns; inferred.
        source: Shapes of the network that it learns from; inferred.
        loss_weight: Factor on the sum over the modules, for regressors and features alike: the
            regressors are the way from the features to the targets, not an estimate beside
            them. 100 in RepDistiller's public
            comparison, for one module in the middle.
        modules: Modules that are compared, from 1; see :class:`mmmuse.losses.FeatureLoss`.

    Returns:
        ``loss_fitnet``.

    Source: "FitNets: Hints for Thin Deep Nets" (Romero et al., ICLR 2015), equation 3;
    trained together with the task, as in RepDistiller, not in a stage of its own.
    """

    def __init__(
        self,
        learner: NetworkSpecs,
        source: NetworkSpecs,
        loss_weight: NonNegativeFloat = 100.0,
        modules: Sequence[int] | None = None,
    ) -> None:
        super().__init__(learner, source, loss_weight, modules)
        self.regressors = nn.ModuleList(
            nn.Sequential(
                nn.Conv2d(local.channels, target.channels, 1, bias=False),
                nn.BatchNorm2d(target.channels),
            )
            for local, target in zip(self.local_specs, self.target_specs, strict=True)
        )

    def forward(self, step: Step) -> dict[str, Tensor]:
        """Return ``loss_fitnet``."""
        total = 0.0
        for regressor, (local, target) in zip(self.regressors, self.pairs(step), strict=True):
            local, target = same_grid(local, target.detach())
            total = total + F.mse_loss(at_least_float32(regressor(local)), at_least_float32(target))
        return {'loss_fitnet': self.weight(step) * total}
