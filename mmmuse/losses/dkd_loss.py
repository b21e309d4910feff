from torch import Tensor

from mmmuse.arguments import Fraction, NonNegativeFloat, PositiveFloat
from mmmuse.functional import dkd_loss
from mmmuse.registry import MODELS
from mmmuse.tapping.features import NetworkSpecs, Step

from .class_labels import single_labels
from .logit_loss import LogitLoss


@MODELS.register_module()
class DKDLoss(LogitLoss):
    """Decoupled KD: the label's probability and the other classes' are imitated apart.

    See :func:`mmmuse.functional.dkd_loss` for the formula.

    Args:
        learner: Shapes of the network that learns; inferred.
        source: Shapes of the network that it learns from; inferred.
        target_weight: Of the label's part.
        other_weight: Of the other classes' part; 2 in the public code for ResNet-56 to
            ResNet-20 on CIFAR-100, up to 8 for other networks.
        temperature: Above 0.
        loss_weight: Factor on the loss.
        warmup: Part of the training, 0 to 1, over which the weight rises linearly from 0;
            20 of 240 epochs in the public code.
        standardize: Whether logits are standardized first; see :class:`mmmuse.losses.LogitLoss`.

    Returns:
        ``loss_dkd``.

    Raises:
        InputError: If the temperature or the warm-up is out of its range, or an image has
            several labels. A distiller refuses images of Mixup or CutMix.

    Source: "Decoupled Knowledge Distillation" (Zhao et al., CVPR 2022).
    """

    reads = frozenset({'logits', 'labels'})

    def __init__(
        self,
        learner: NetworkSpecs,
        source: NetworkSpecs,
        target_weight: NonNegativeFloat = 1.0,
        other_weight: NonNegativeFloat = 2.0,
        temperature: PositiveFloat = 4.0,
        loss_weight: NonNegativeFloat = 1.0,
        warmup: Fraction = 20 / 240,
        standardize: bool = False,
    ) -> None:
        super().__init__(learner, source, loss_weight, standardize, warmup=warmup)
        self.target_weight = target_weight
        self.other_weight = other_weight
        self.temperature = temperature

    def forward(self, step: Step) -> dict[str, Tensor]:
        """Return ``loss_dkd``."""
        loss = dkd_loss(
            *self.logits(step),
            single_labels(step.data_samples, 'DKDLoss'),
            self.temperature,
            self.target_weight,
            self.other_weight,
        )
        return {'loss_dkd': self.weight(step) * loss}
