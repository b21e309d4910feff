import math
from typing import ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mmmuse.errors import InputError
from mmmuse.functional import same_grid, vid_loss
from mmmuse.registry import MODELS
from mmmuse.tapping.features import DistillFeatures

from .discrepancy import Discrepancy

_SMALLEST_VARIANCE = 1e-5


@MODELS.register_module()
class VIDLoss(Discrepancy):
    """Variational information distillation: each shallow map predicts the last one.

    A regressor for each module (three 1x1 convolutions with ReLU between) gives
    the mean of a Gaussian, whose variance for each channel is a parameter: trained,
    and saved with the distiller's other weights. The larger map is pooled to the
    smaller grid. See :func:`mmmuse.functional.vid_loss` for the formula.

    Args:
        local_channels: Channels of each shallow feature; inferred.
        last_channels: Channels of the last feature; inferred.
        loss_weight: Factor on the sum over the shallow modules. The paper does not
            give this; 1 is VID's in RepDistiller's public comparison.
        hidden_channels: Width of the regressors; that of the last feature by default.
        init_variance: Of every channel, above 1e-5.
        detach_last: Whether the last map gets no gradient, as a teacher's does not
            (the bound holds for a fixed one only). The paper does not give this.
        target_channels: Channels of each module's target, where it is not the last
            map but the same module of another network; inferred.

    Returns:
        ``loss_vid``, which may be negative.

    Raises:
        InputError: If a feature is a vector, or the variance too small.

    Source: "Variational Information Distillation for Knowledge Transfer" (Ahn et
    al., CVPR 2019); the VID row of MUSE's table 6.
    """

    reads_maps: ClassVar[bool] = True
    compares_modules: ClassVar[bool] = True

    def __init__(
        self,
        local_channels: list[int],
        last_channels: int,
        loss_weight: float = 1.0,
        hidden_channels: int | None = None,
        init_variance: float = 5.0,
        detach_last: bool = True,
        target_channels: list[int] | None = None,
    ) -> None:
        super().__init__(local_channels, last_channels, loss_weight)
        if not init_variance > _SMALLEST_VARIANCE:
            raise InputError(
                f'VIDLoss needs an init_variance above {_SMALLEST_VARIANCE}, got {init_variance}'
            )
        self.detach_last = detach_last
        target_channels = target_channels or [last_channels] * len(local_channels)
        self.regressors = nn.ModuleList(
            _regressor(channels, hidden_channels or target, target)
            for channels, target in zip(local_channels, target_channels)
        )
        # The inverse of the softplus in `variance`.
        above = init_variance - _SMALLEST_VARIANCE
        raw = above + math.log(-math.expm1(-above))
        self.raw_variances = nn.ParameterList(
            torch.full((target,), raw) for target in target_channels
        )

    def variance(self, index: int) -> Tensor:
        """Return the variance of each channel of the target, ``(C_T, )``, of a shallow module's Gaussian."""
        return F.softplus(self.raw_variances[index].float()) + _SMALLEST_VARIANCE

    def forward(self, features: DistillFeatures) -> dict[str, Tensor]:
        """Return ``loss_vid``."""
        total = 0.0
        for i, (regressor, local) in enumerate(zip(self.regressors, features.shallow)):
            target = features.target(i)
            local, target = same_grid(local, target.detach() if self.detach_last else target)
            total = total + vid_loss(regressor(local), self.variance(i), target)
        return {'loss_vid': self.loss_weight * total}


def _regressor(in_channels: int, hidden_channels: int, out_channels: int) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(in_channels, hidden_channels, 1),
        nn.ReLU(inplace=True),
        nn.Conv2d(hidden_channels, hidden_channels, 1),
        nn.ReLU(inplace=True),
        nn.Conv2d(hidden_channels, out_channels, 1),
    )
