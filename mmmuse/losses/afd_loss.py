import torch.nn.functional as F
from torch import Tensor, nn

from mmmuse.arguments import NonNegativeFloat, PositiveFloat, PositiveInt
from mmmuse.errors import InputError
from mmmuse.functional import discriminator_loss, map_view, reverse_gradient
from mmmuse.functional.precision import at_least_float32
from mmmuse.registry import MODELS
from mmmuse.tapping.features import NetworkSpecs, Step

from .distill_loss import DistillLoss


@MODELS.register_module()
class AFDLoss(DistillLoss):
    r"""AFD: a discriminator tells the other network's last map from this one's.

    This network is trained against it through a reversed gradient; the other's map is
    detached. The logits' part of the method is ``mmmuse.KDLoss`` at temperature 3.

    Args:
        learner: Shapes of the network that learns; inferred.
        source: Shapes of the network that it learns from; inferred.
        loss_weight: Factor on the reversed gradient that the learner receives, its adapting
            convolution included. The paper does not give this: it trains
            networks and discriminators in turns, with optimizers of their own; one step
            with a reversed gradient is assumed, and so is the discriminator's binary cross-entropy.
        reversal_scale: A further factor on that gradient, 0 or more.
        normalize: Whether the features of each location are brought to the length
            :math:`\sqrt{C}` first, so that they cannot escape by growing. Assumed.
        hidden_channels: Width of the discriminator; that of the other's map by default.
        critic_weight: Factor on the loss that the discriminator minimises.

    Returns:
        ``loss_afd``: :math:`2 \log 2` where the two cannot be told apart.

    Raises:
        InputError: If a last feature is a vector, or ``reversal_scale`` negative.

    Source: "Feature-map-level Online Adversarial Knowledge Distillation" (Chung et al.,
    ICML 2020), section 3.2.
    """

    reads = frozenset({'maps'})
    needs_two_networks = True

    def __init__(
        self,
        learner: NetworkSpecs,
        source: NetworkSpecs,
        loss_weight: NonNegativeFloat = 0.1,
        reversal_scale: NonNegativeFloat = 1.0,
        normalize: bool = True,
        hidden_channels: PositiveInt | None = None,
        critic_weight: PositiveFloat = 1.0,
    ) -> None:
        super().__init__(learner, source, loss_weight, critic_weight)
        if any(specs.last is None or specs.last.grid is None for specs in (learner, source)):
            raise InputError(
                'AFDLoss compares last maps, and a last feature is a vector or not tapped: tap a '
                'module before the pooling'
            )
        self.reversal_scale = reversal_scale
        self.normalize = normalize
        channels = source.last.channels
        hidden = hidden_channels or channels
        self.adapt = None
        if learner.last.channels != channels:
            self.adapt = nn.Sequential(
                nn.Conv2d(learner.last.channels, channels, 1, bias=False),
                nn.BatchNorm2d(channels),
                nn.ReLU(),
            )
        self.discriminator = nn.Sequential(
            nn.Conv2d(channels, hidden, 3, stride=2, padding=1),
            nn.LeakyReLU(0.2),
            nn.Conv2d(hidden, hidden, 3, stride=2, padding=1),
            nn.LeakyReLU(0.2),
            nn.AdaptiveAvgPool2d(1),
            nn.Flatten(),
            nn.Linear(hidden, 1),
        )

    def forward(self, step: Step) -> dict[str, Tensor]:
        """Return ``loss_afd``: ``critic_weight`` times the discriminator's loss."""
        own = map_view(step.learner.last)
        other = map_view(step.source.last.detach())
        own = own if self.adapt is None else self.adapt(own)
        own = reverse_gradient(own, self.reversal_scale * self.feature_scale(step))
        loss = discriminator_loss(self._score(other), self._score(own))
        return {'loss_afd': self.critic_weight * loss}

    def _score(self, maps: Tensor) -> Tensor:
        if self.normalize:
            length = maps.shape[1] ** 0.5
            maps = (F.normalize(at_least_float32(maps), dim=1) * length).to(maps.dtype)
        return self.discriminator(maps)
