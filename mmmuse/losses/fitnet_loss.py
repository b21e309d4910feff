from typing import ClassVar

import torch.nn.functional as F
from torch import Tensor, nn

from mmmuse.functional import same_grid
from mmmuse.functional.precision import at_least_float32
from mmmuse.registry import MODELS
from mmmuse.tapping.features import DistillFeatures

from .discrepancy import Discrepancy


@MODELS.register_module()
class FitNetLoss(Discrepancy):
    r"""FitNets: a regressor on each map is to give its target.

    .. math::
        L = \sum_i \mathbb{E}\big[ (r_i(F_i) - t_i)^2 \big]

    with a 1x1 convolution and BN for each :math:`r_i`, the larger map pooled to the
    smaller grid. The targets give no gradient; the mean is taken in float32.

    Args:
        local_channels: Channels of each shallow feature; inferred.
        last_channels: Channels of the last feature; inferred.
        loss_weight: Factor on the sum over the modules; 100 in RepDistiller's public
            comparison, for one module in the middle.
        target_channels: Channels of each module's target, where it is not the last
            map but the same module of another network; inferred.

    Returns:
        ``loss_fitnet``.

    Source: "FitNets: Hints for Thin Deep Nets" (Romero et al., ICLR 2015), equation 3;
    trained together with the task, as in RepDistiller, not in a stage of its own.
    """

    reads_maps: ClassVar[bool] = True
    compares_modules: ClassVar[bool] = True

    def __init__(
        self,
        local_channels: list[int],
        last_channels: int,
        loss_weight: float = 100.0,
        target_channels: list[int] | None = None,
    ) -> None:
        super().__init__(local_channels, last_channels, loss_weight)
        targets = target_channels or [last_channels] * len(local_channels)
        self.regressors = nn.ModuleList(
            nn.Sequential(nn.Conv2d(channels, target, 1, bias=False), nn.BatchNorm2d(target))
            for channels, target in zip(local_channels, targets)
        )

    def forward(self, features: DistillFeatures) -> dict[str, Tensor]:
        """Return ``loss_fitnet``."""
        total = 0.0
        for i, (regressor, local) in enumerate(zip(self.regressors, features.shallow)):
            local, target = same_grid(local, features.target(i).detach())
            total = total + F.mse_loss(at_least_float32(regressor(local)), at_least_float32(target))
        return {'loss_fitnet': self.loss_weight * total}
