from typing import ClassVar

from torch import Tensor

from mmmuse.functional import mmd_loss
from mmmuse.registry import MODELS
from mmmuse.tapping.features import DistillFeatures

from .discrepancy import Discrepancy


@MODELS.register_module()
class MMDLoss(Discrepancy):
    """Maximum mean discrepancy between the channels of each shallow map and of the last one.

    See :func:`mmmuse.functional.mmd_loss` for the formula. It reads the raw maps:
    their channels may differ in number, so no exit is needed.

    Args:
        local_channels: Channels of each shallow feature; inferred.
        last_channels: Channels of the last feature; inferred.
        loss_weight: Factor on the sum over the shallow modules. The paper does not
            give this; 50 is NST's in RepDistiller's public comparison.
        detach_last: Whether the last map is imitated only, as a teacher's is, and
            gets no gradient. The paper does not give this.
        target_channels: Not read: channels are compared in pairs, however many.

    Returns:
        ``loss_mmd``.

    Raises:
        InputError: If a feature is a vector.

    Source: NST (Huang and Wang, 2017); the MMD row of MUSE's table 6.
    """

    reads_maps: ClassVar[bool] = True
    compares_modules: ClassVar[bool] = True

    def __init__(
        self,
        local_channels: list[int],
        last_channels: int,
        loss_weight: float = 50.0,
        detach_last: bool = True,
        target_channels: list[int] | None = None,
    ) -> None:
        super().__init__(local_channels, last_channels, loss_weight)
        self.detach_last = detach_last

    def forward(self, features: DistillFeatures) -> dict[str, Tensor]:
        """Return ``loss_mmd``."""
        total = 0.0
        for i, local in enumerate(features.shallow):
            target = features.target(i)
            total = total + mmd_loss(local, target.detach() if self.detach_last else target)
        return {'loss_mmd': self.loss_weight * total}
