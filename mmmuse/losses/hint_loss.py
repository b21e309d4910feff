from typing import ClassVar

from torch import Tensor

from mmmuse.functional import global_view, hint_loss
from mmmuse.registry import MODELS
from mmmuse.tapping.features import DistillFeatures

from .discrepancy import Discrepancy


@MODELS.register_module()
class HintLoss(Discrepancy):
    """BYOT's L2: each exit's pooled feature imitates the pooled last feature.

    See :func:`mmmuse.functional.hint_loss` for the formula.

    Args:
        local_channels: Channels of each shallow feature; inferred.
        last_channels: Channels of the last feature; inferred.
        loss_weight: Factor on the sum over images, channels and exits; 1e-6 in
            BYOT's public code.

    Returns:
        ``loss_l2``.

    Source: "Be Your Own Teacher" (Zhang et al., ICCV 2019), section 3.2; the
    L2 rows of MUSE's table 5.
    """

    reads_exits: ClassVar[bool] = True

    def __init__(
        self, local_channels: list[int], last_channels: int, loss_weight: float = 1e-6
    ) -> None:
        super().__init__(local_channels, last_channels, loss_weight)

    def forward(self, features: DistillFeatures) -> dict[str, Tensor]:
        """Return ``loss_l2``."""
        distance = sum(
            hint_loss(global_view(exit_map), features.last_vector) for exit_map in features.exits
        )
        return {'loss_l2': self.loss_weight * distance}
