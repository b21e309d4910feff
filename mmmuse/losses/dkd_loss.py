from torch import Tensor

from mmmuse.errors import InputError
from mmmuse.functional import dkd_loss
from mmmuse.losses.class_labels import class_labels
from mmmuse.registry import MODELS
from mmmuse.tapping.features import NetworkSpecs, TransferFeatures
from mmmuse.tapping.progress import warmed_up

from .transfer_loss import TransferLoss


@MODELS.register_module()
class DKDLoss(TransferLoss):
    """Decoupled KD: the label's probability and the other classes' are imitated apart.

    See :func:`mmmuse.functional.dkd_loss` for the formula.

    Args:
        student: Shapes of the network that learns; inferred.
        teacher: Shapes of the network that it learns from; inferred.
        target_weight: Of the label's part.
        other_weight: Of the other classes' part; 2 in the public code for ResNet-56 to
            ResNet-20 on CIFAR-100, up to 8 for other networks.
        temperature: Above 0.
        loss_weight: Factor on the loss.
        warmup: Part of the training, 0 to 1, over which the weight rises linearly from 0;
            20 of 240 epochs in the public code.

    Returns:
        ``loss_dkd``.

    Raises:
        InputError: If the temperature or the warm-up is out of its range, or an image has
            not one label.

    Source: "Decoupled Knowledge Distillation" (Zhao et al., CVPR 2022).
    """

    reads = frozenset({'logits'})

    def __init__(
        self,
        student: NetworkSpecs,
        teacher: NetworkSpecs,
        target_weight: float = 1.0,
        other_weight: float = 2.0,
        temperature: float = 4.0,
        loss_weight: float = 1.0,
        warmup: float = 20 / 240,
    ) -> None:
        super().__init__(student, teacher, loss_weight)
        if not temperature > 0 or not 0 <= warmup <= 1:
            raise InputError(
                'DKDLoss needs a temperature above 0 and a warmup in [0, 1], got '
                f'{temperature} and {warmup}'
            )
        self.target_weight = target_weight
        self.other_weight = other_weight
        self.temperature = temperature
        self.warmup = warmup

    def forward(self, features: TransferFeatures) -> dict[str, Tensor]:
        """Return ``loss_dkd``."""
        loss = dkd_loss(
            features.student.logits,
            features.teacher.logits,
            class_labels(features.data_samples, 'DKDLoss'),
            self.temperature,
            self.target_weight,
            self.other_weight,
        )
        return {'loss_dkd': warmed_up(self.loss_weight, self.warmup) * loss}
