from torch import Tensor

from mmmuse.arguments import NonNegativeFloat, PositiveFloat
from mmmuse.functional import dist_loss
from mmmuse.registry import MODELS
from mmmuse.tapping.features import NetworkSpecs, Step

from .logit_loss import LogitLoss


@MODELS.register_module()
class DISTLoss(LogitLoss):
    """DIST: the relations between and within classes are imitated, not the probabilities.

    See :func:`mmmuse.functional.dist_loss` for the formula.

    Args:
        learner: Shapes of the network that learns; inferred.
        source: Shapes of the network that it learns from; inferred. Its logits are detached.
        inter_weight: Of the correlation over the classes of an image; 2 in the paper.
        intra_weight: Of the correlation over the images of a class; 2 in the paper.
        temperature: Above 0; 1 in the paper on ImageNet, 4 on CIFAR-100.
        loss_weight: Factor on both parts.
        standardize: Whether logits are standardized first; see :class:`mmmuse.losses.LogitLoss`.

    Returns:
        ``loss_dist``.

    Source: "Knowledge Distillation from A Stronger Teacher" (Huang et al., NeurIPS 2022).
    """

    min_batch_size = 2  # For the correlation over images.

    def __init__(
        self,
        learner: NetworkSpecs,
        source: NetworkSpecs,
        inter_weight: NonNegativeFloat = 2.0,
        intra_weight: NonNegativeFloat = 2.0,
        temperature: PositiveFloat = 4.0,
        loss_weight: NonNegativeFloat = 1.0,
        standardize: bool = False,
    ) -> None:
        super().__init__(learner, source, loss_weight, standardize)
        self.inter_weight = inter_weight
        self.intra_weight = intra_weight
        self.temperature = temperature

    def forward(self, step: Step) -> dict[str, Tensor]:
        """Return ``loss_dist``."""
        loss = dist_loss(*self.logits(step), self.temperature, self.inter_weight, self.intra_weight)
        return {'loss_dist': self.weight(step) * loss}
