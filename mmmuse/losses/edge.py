from collections.abc import Sequence

from mmengine.model import ModuleList
from torch import Tensor

from mmmuse.tapping.features import NetworkSpecs, Step

from .distill_loss import build_loss


class Edge(ModuleList):
    """The losses with which one network learns from another, or from its own last feature.

    Args:
        losses: Configs of :class:`mmmuse.losses.DistillLoss`; several of one type are several
            losses.
        learner: Shapes of the network that learns.
        source: Shapes of the network that it learns from; the same object as ``learner``
            within one network.

    Raises:
        InputError: See :func:`mmmuse.losses.build_loss`.
    """

    def __init__(self, losses: Sequence[dict], learner: NetworkSpecs, source: NetworkSpecs) -> None:
        super().__init__(build_loss(config, learner, source) for config in losses)

    def forward(self, step: Step) -> dict[str, Tensor]:
        """Return the terms of all losses by name."""
        terms: dict[str, Tensor] = {}
        for loss in self:
            add_terms(terms, loss(step))
        return terms

    @property
    def min_batch_size(self) -> int:
        """Images that the losses need in a batch."""
        return max((loss.min_batch_size for loss in self), default=1)

    @property
    def reads_exits(self) -> bool:
        """Whether a loss reads the neck's maps."""
        return any('exits' in loss.reads for loss in self)


def add_terms(terms: dict[str, Tensor], more: dict[str, Tensor]) -> None:
    """Add terms to those of a step; a name that is taken already gets a number behind it."""
    for name, value in more.items():
        free, number = name, 1
        while free in terms:
            number += 1
            free = f'{name}_{number}'
        terms[free] = value
