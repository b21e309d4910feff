import torch.nn.functional as F
from torch import Tensor, nn

from mmmuse.arguments import NonNegativeFloat, PositiveFloat, PositiveInt
from mmmuse.functional import discriminator_loss, global_view, reverse_gradient
from mmmuse.functional.precision import at_least_float32
from mmmuse.registry import MODELS
from mmmuse.tapping.features import NetworkSpecs, Step

from .distill_loss import DistillLoss


@MODELS.register_module()
class AdversarialLoss(DistillLoss):
    r"""A discriminator for each exit tells its pooled feature from the pooled last one.

    Both features are trained against it through a reversed gradient, in the same
    step and by the same optimizer; the discriminators are saved with the
    distiller's other weights, outside the student. See
    :func:`mmmuse.functional.discriminator_loss` for the formula.

    Args:
        learner: Shapes of the network that learns; inferred.
        source: Shapes of the network that it learns from; inferred.
        loss_weight: Factor on the reversed gradient that the features receive. The paper
            does not give this; where features and discriminators had one weight of 1, a
            short run with SGD at 0.1 ended in infinite losses.
        normalize: Whether each vector is brought to the length :math:`\sqrt{C}`
            first, so that features cannot escape the discriminator by growing. The
            paper does not give this.
        reversal_scale: A further factor on that gradient, 0 or more. The paper does not
            give this.
        hidden_channels: Width of the discriminators (two linear layers, ReLU
            between); that of the last feature by default. The paper does not give this.
        critic_weight: Factor on the loss that the discriminators minimise.

    Returns:
        ``loss_adversarial``: :math:`2 \log 2` for each exit that cannot be told
        from the last feature.

    Raises:
        InputError: If ``reversal_scale`` is negative.

    Source: the adversarial row of MUSE's table 6, after MEAL (Shen et al., AAAI
    2019) and AFD (Chung et al., ICML 2020).
    """

    reads = frozenset({'exits', 'vector'})

    def __init__(
        self,
        learner: NetworkSpecs,
        source: NetworkSpecs,
        loss_weight: NonNegativeFloat = 0.1,
        normalize: bool = True,
        reversal_scale: NonNegativeFloat = 1.0,
        hidden_channels: PositiveInt | None = None,
        critic_weight: PositiveFloat = 1.0,
    ) -> None:
        super().__init__(learner, source, loss_weight, critic_weight)
        self.normalize = normalize
        self.reversal_scale = reversal_scale
        channels = source.last.channels
        hidden_channels = hidden_channels or channels
        self.discriminators = nn.ModuleList(
            nn.Sequential(
                nn.Linear(channels, hidden_channels),
                nn.ReLU(inplace=True),
                nn.Linear(hidden_channels, 1),
            )
            for _ in learner.shallow
        )

    def forward(self, step: Step) -> dict[str, Tensor]:
        """Return ``loss_adversarial``: ``critic_weight`` times the sum over the exits."""
        scale = self.reversal_scale * self.feature_scale(step)
        last = self._opposed(step.source.last_vector, scale)
        total = sum(
            discriminator_loss(
                discriminator(last), discriminator(self._opposed(global_view(exit_map), scale))
            )
            for discriminator, exit_map in zip(self.discriminators, step.learner.exits, strict=True)
        )
        return {'loss_adversarial': self.critic_weight * total}

    def _opposed(self, vector: Tensor, scale: float) -> Tensor:
        vector = reverse_gradient(vector, scale)
        if not self.normalize:
            return vector
        length = vector.shape[1] ** 0.5
        return (F.normalize(at_least_float32(vector), dim=1) * length).to(vector.dtype)
