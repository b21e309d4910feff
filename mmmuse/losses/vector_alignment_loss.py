from torch import Tensor

from mmmuse.registry import MODELS
from mmmuse.tapping.features import Step

from .alignment_loss import AlignmentLoss


@MODELS.register_module()
class VectorAlignmentLoss(AlignmentLoss):
    """The pooled vector of the learner's last feature is to be that of the source.

    Both are projected and normalised; see :class:`mmmuse.losses.AlignmentLoss` for the arguments.

    Args:
        *args: Those of :class:`mmmuse.losses.AlignmentLoss`.
        **kwargs: Those of :class:`mmmuse.losses.AlignmentLoss`.

    Returns:
        ``loss_align_vector``.
    """

    reads = frozenset({'vector'})

    def forward(self, step: Step) -> dict[str, Tensor]:
        """Return ``loss_align_vector``."""
        pair = (step.learner.last_vector, step.source.last_vector)
        return {'loss_align_vector': self.weight(step) * self.align(*pair)}
