from torch import Tensor

from mmmuse.arguments import NonNegativeFloat, with_checked_arguments
from mmmuse.functional import standardized_logits
from mmmuse.tapping.features import NetworkSpecs, Step

from .distill_loss import DistillLoss


@with_checked_arguments
class LogitLoss(DistillLoss):
    """A loss that compares the softmax of class logits.

    Args:
        learner: Shapes of the network that learns; inferred.
        source: Shapes of the network that it learns from; inferred. Its logits are detached.
        loss_weight: Factor on the loss.
        standardize: Whether the logits of each image first get mean 0 and deviation 1, on both sides; see
            :func:`mmmuse.functional.standardized_logits`. Multi-label losses have no such option:
            the sign of each of their logits counts.
        **weights: ``warmup`` of :class:`DistillLoss`.

    Source of ``standardize``: "Logit Standardization in Knowledge Distillation" (Sun et al., CVPR 2024).
    """

    reads = frozenset({'logits'})
    needs_two_networks = True

    def __init__(
        self,
        learner: NetworkSpecs,
        source: NetworkSpecs,
        loss_weight: NonNegativeFloat,
        standardize: bool = False,
        **weights: float,
    ) -> None:
        super().__init__(learner, source, loss_weight, **weights)
        self.standardize = standardize

    def source_logits(self, step: Step) -> Tensor:
        """Return the logits that are imitated, ``(N, K)``: the source's."""
        return step.source.logits

    def logits(self, step: Step) -> tuple[Tensor, Tensor]:
        """Return the learner's logits and those that are imitated, standardized if that is set."""
        pair = step.learner.logits, self.source_logits(step)
        return tuple(map(standardized_logits, pair)) if self.standardize else pair
