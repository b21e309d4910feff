import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mmmuse.arguments import Fraction, NonNegativeFloat, PositiveFloat, PositiveInt
from mmmuse.errors import InputError
from mmmuse.functional import alignment_loss
from mmmuse.functional.alignment import AlignmentDistance
from mmmuse.functional.precision import at_least_float32
from mmmuse.tapping.features import FeatureSpec, NetworkSpecs

from .distill_loss import DistillLoss


class AlignmentLoss(DistillLoss):
    """A loss with which the last feature of one network learns that of another: a base class.

    Both features are projected to one width and normalised; see
    :func:`mmmuse.functional.alignment_loss`. The learner's projection is linear and trained. The
    source's is fixed, so that the two cannot agree on a constant: the feature itself, or, with
    ``channels``, its coordinates in a random orthonormal basis.

    Args:
        learner: Shapes of the network that learns; inferred.
        source: Shapes of the network that it learns from; inferred.
        loss_weight: Factor on the loss.
        distance: ``'cosine'`` or ``'smooth_l1'``.
        beta: Of smooth L1.
        channels: Common width, at most the source's; None for the source's own.
        warmup: See :class:`mmmuse.losses.DistillLoss`.

    Raises:
        InputError: If a last feature is missing, or ``channels`` is above the source's width.
    """

    needs_two_networks = True

    def __init__(
        self,
        learner: NetworkSpecs,
        source: NetworkSpecs,
        loss_weight: NonNegativeFloat = 1.0,
        distance: AlignmentDistance = 'cosine',
        beta: PositiveFloat = 2.0,
        channels: PositiveInt | None = None,
        warmup: Fraction = 0.0,
    ) -> None:
        super().__init__(learner, source, loss_weight, warmup=warmup)
        self.distance = distance
        self.beta = beta
        width = self._width(learner, source).channels
        if channels is not None and channels > width:
            raise InputError(
                f'{self.name}: channels is at most the width of the source, {width}, got {channels}'
            )
        self.projection = nn.Linear(learner.last.channels, channels or width)
        basis = None if channels is None else _orthonormal(width, channels)
        self.register_buffer('basis', basis)

    def _width(self, learner: NetworkSpecs, source: NetworkSpecs) -> FeatureSpec:
        """Return the shape of the source's feature; a subclass checks both."""
        return source.last

    def align(self, own: Tensor, target: Tensor) -> Tensor:
        """Return the distance of vectors ``(..., C)`` and their targets ``(..., C')``, projected."""
        own, target = at_least_float32(own), at_least_float32(target.detach())
        projection = self.projection
        with torch.autocast(own.device.type, enabled=False):
            own = F.linear(own, projection.weight.to(own), projection.bias.to(own))
            if self.basis is not None:
                target = target @ self.basis.to(target)
        return alignment_loss(own, target, self.distance, self.beta)


def _orthonormal(rows: int, columns: int) -> Tensor:
    """Return orthonormal columns ``(rows, columns)``, the same at every call."""
    drawn = torch.randn(rows, columns, generator=torch.Generator().manual_seed(0))
    return torch.linalg.qr(drawn).Q
