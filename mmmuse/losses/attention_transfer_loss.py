from typing import ClassVar

from torch import Tensor

from mmmuse.functional import attention_transfer_loss
from mmmuse.registry import MODELS
from mmmuse.tapping.features import DistillFeatures

from .discrepancy import Discrepancy


@MODELS.register_module()
class AttentionTransferLoss(Discrepancy):
    """Attention transfer (AT): each map is to be large where its target is.

    See :func:`mmmuse.functional.attention_transfer_loss` for the formula. The
    targets give no gradient.

    Args:
        local_channels: Channels of each shallow feature; inferred.
        last_channels: Channels of the last feature; inferred.
        loss_weight: Factor on the sum over the modules; 1000 in RepDistiller's
            public comparison.
        target_channels: Not read: the channels are averaged away.

    Returns:
        ``loss_at``.

    Source: "Paying More Attention to Attention" (Zagoruyko and Komodakis, ICLR 2017).
    """

    reads_maps: ClassVar[bool] = True
    compares_modules: ClassVar[bool] = True

    def __init__(
        self,
        local_channels: list[int],
        last_channels: int,
        loss_weight: float = 1000.0,
        target_channels: list[int] | None = None,
    ) -> None:
        super().__init__(local_channels, last_channels, loss_weight)

    def forward(self, features: DistillFeatures) -> dict[str, Tensor]:
        """Return ``loss_at``."""
        total = sum(
            attention_transfer_loss(local, features.target(i))
            for i, local in enumerate(features.shallow)
        )
        return {'loss_at': self.loss_weight * total}
