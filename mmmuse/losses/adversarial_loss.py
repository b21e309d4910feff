from typing import ClassVar

import torch.nn.functional as F
from torch import Tensor, nn

from mmmuse.errors import InputError
from mmmuse.functional import discriminator_loss, global_view, reverse_gradient
from mmmuse.functional.precision import at_least_float32
from mmmuse.registry import MODELS
from mmmuse.tapping.features import DistillFeatures

from .discrepancy import Discrepancy


@MODELS.register_module()
class AdversarialLoss(Discrepancy):
    r"""A discriminator for each exit tells its pooled feature from the pooled last one.

    Both features are trained against it through a reversed gradient, in the same
    step and by the same optimizer; the discriminators are saved with the
    distiller's other weights, outside the student. See
    :func:`mmmuse.functional.discriminator_loss` for the formula.

    Args:
        local_channels: Channels of each shallow feature; inferred.
        last_channels: Channels of the last feature; inferred.
        loss_weight: Factor on the sum over the exits. The paper does not give this;
            with 1 and SGD at 0.1 a short run ended in infinite losses.
        normalize: Whether each vector is brought to the length :math:`\sqrt{C}`
            first, so that features cannot escape the discriminator by growing. The
            paper does not give this.
        reversal_scale: Factor on the gradient that reaches the features, 0 or more.
            The paper does not give this.
        hidden_channels: Width of the discriminators (two linear layers, ReLU
            between); that of the last feature by default. The paper does not give this.

    Returns:
        ``loss_adversarial``: :math:`2 \log 2` for each exit that cannot be told
        from the last feature.

    Raises:
        InputError: If ``reversal_scale`` is negative.

    Source: the adversarial row of MUSE's table 6, after MEAL (Shen et al., AAAI
    2019) and AFD (Chung et al., ICML 2020).
    """

    reads_exits: ClassVar[bool] = True

    def __init__(
        self,
        local_channels: list[int],
        last_channels: int,
        loss_weight: float = 0.1,
        normalize: bool = True,
        reversal_scale: float = 1.0,
        hidden_channels: int | None = None,
    ) -> None:
        super().__init__(local_channels, last_channels, loss_weight)
        if reversal_scale < 0:
            raise InputError(f'AdversarialLoss needs a reversal_scale >= 0, got {reversal_scale}')
        self.normalize = normalize
        self.reversal_scale = reversal_scale
        hidden_channels = hidden_channels or last_channels
        self.discriminators = nn.ModuleList(
            nn.Sequential(
                nn.Linear(last_channels, hidden_channels),
                nn.ReLU(inplace=True),
                nn.Linear(hidden_channels, 1),
            )
            for _ in local_channels
        )

    def forward(self, features: DistillFeatures) -> dict[str, Tensor]:
        """Return ``loss_adversarial``."""
        last = self._opposed(features.last_vector)
        total = sum(
            discriminator_loss(
                discriminator(last), discriminator(self._opposed(global_view(exit_map)))
            )
            for discriminator, exit_map in zip(self.discriminators, features.exits)
        )
        return {'loss_adversarial': self.loss_weight * total}

    def _opposed(self, vector: Tensor) -> Tensor:
        vector = reverse_gradient(vector, self.reversal_scale)
        if not self.normalize:
            return vector
        return F.normalize(at_least_float32(vector), dim=1) * vector.shape[1] ** 0.5
