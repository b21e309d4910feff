import math
from collections.abc import Sequence
from typing import Annotated

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mmmuse.arguments import NonNegativeFloat, PositiveFloat, PositiveInt, Range
from mmmuse.functional import same_grid, scale_gradient, vid_loss
from mmmuse.functional.precision import at_least_float32
from mmmuse.registry import MODELS
from mmmuse.tapping.features import NetworkSpecs, Step

from .distill_loss import FeatureLoss

_SMALLEST_VARIANCE = 1e-5


@MODELS.register_module()
class VIDLoss(FeatureLoss):
    """Variational information distillation: each shallow map predicts the last one.

    A regressor for each module (three 1x1 convolutions with ReLU between) gives
    the mean of a Gaussian, whose variance for each channel is a parameter: trained,
    and saved with the distiller's other weights. The larger map is pooled to the
    smaller grid. See :func:`mmmuse.functional.vid_loss` for the formula.

    Args:
        learner: Shapes of the network that learns; inferred.
        source: Shapes of the network that it learns from; inferred.
        loss_weight: Factor on the gradient that the features receive. The paper does not
            give this; 1 is VID's in RepDistiller's public comparison.
        critic_weight: Factor on the loss that the regressors and variances minimise.
        hidden_channels: Width of the regressors; that of the last feature by default.
        init_variance: Of every channel, above 1e-5.
        detach_last: Whether the last map gets no gradient, as a teacher's does not
            (the bound holds for a fixed one only). The paper does not give this.
        modules: Modules that are compared, from 1; see :class:`mmmuse.losses.FeatureLoss`.

    Returns:
        ``loss_vid``, which may be negative.

    Raises:
        InputError: If a feature is a vector, or the variance too small.

    Source: "Variational Information Distillation for Knowledge Transfer" (Ahn et
    al., CVPR 2019); the VID row of MUSE's table 6.
    """

    def __init__(
        self,
        learner: NetworkSpecs,
        source: NetworkSpecs,
        loss_weight: NonNegativeFloat = 1.0,
        hidden_channels: PositiveInt | None = None,
        init_variance: Annotated[float, Range(above=_SMALLEST_VARIANCE)] = 5.0,
        detach_last: bool = True,
        critic_weight: PositiveFloat = 1.0,
        modules: Sequence[int] | None = None,
    ) -> None:
        super().__init__(learner, source, loss_weight, modules, critic_weight=critic_weight)
        self.detach_last = detach_last
        targets = [spec.channels for spec in self.target_specs]
        self.regressors = nn.ModuleList(
            _regressor(local.channels, hidden_channels or target, target)
            for local, target in zip(self.local_specs, targets, strict=True)
        )
        # The inverse of the softplus in `variance`.
        above = init_variance - _SMALLEST_VARIANCE
        raw = above + math.log(-math.expm1(-above))
        self.raw_variances = nn.ParameterList(torch.full((target,), raw) for target in targets)

    def variance(self, index: int) -> Tensor:
        """Return the variance of each channel of the target, ``(C_T, )``, of a shallow module's Gaussian."""
        return F.softplus(at_least_float32(self.raw_variances[index])) + _SMALLEST_VARIANCE

    def forward(self, step: Step) -> dict[str, Tensor]:
        """Return ``loss_vid``: ``critic_weight`` times the sum over the modules."""
        scale, total = self.feature_scale(step), 0.0
        for i, (regressor, (local, target)) in enumerate(
            zip(self.regressors, self.pairs(step), strict=True)
        ):
            local, target = same_grid(
                scale_gradient(local, scale),
                target.detach() if self.detach_last else scale_gradient(target, scale),
            )
            total = total + vid_loss(regressor(local), self.variance(i), target)
        return {'loss_vid': self.critic_weight * total}


def _regressor(in_channels: int, hidden_channels: int, out_channels: int) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(in_channels, hidden_channels, 1),
        nn.ReLU(inplace=True),
        nn.Conv2d(hidden_channels, hidden_channels, 1),
        nn.ReLU(inplace=True),
        nn.Conv2d(hidden_channels, out_channels, 1),
    )
