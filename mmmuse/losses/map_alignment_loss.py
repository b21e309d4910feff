from torch import Tensor

from mmmuse.functional import local_view, same_grid
from mmmuse.registry import MODELS
from mmmuse.tapping.features import FeatureSpec, NetworkSpecs, Step

from .alignment_loss import AlignmentLoss
from .requirements import check_map


@MODELS.register_module()
class MapAlignmentLoss(AlignmentLoss):
    """The last map of the learner is to be that of the source, location by location.

    Both are projected and normalised; see :class:`mmmuse.losses.AlignmentLoss` for the arguments.
    The larger map is pooled to the grid of the smaller one. Tokens are read as the grid of the
    image, without the class token and registers.

    Args:
        *args: Those of :class:`mmmuse.losses.AlignmentLoss`.
        **kwargs: Those of :class:`mmmuse.losses.AlignmentLoss`.

    Returns:
        ``loss_align_maps``.

    Raises:
        InputError: If a last feature is a vector.
    """

    reads = frozenset({'maps'})

    def _width(self, learner: NetworkSpecs, source: NetworkSpecs) -> FeatureSpec:
        for specs in (learner, source):
            check_map(self.name, len(specs.modules), specs.last)
        return source.last

    @property
    def source_features(self) -> frozenset[str]:
        """The last map."""
        return frozenset({f'module{self._num_source_modules}'})

    def forward(self, step: Step) -> dict[str, Tensor]:
        """Return ``loss_align_maps``."""
        maps = same_grid(step.learner.last, step.source.last.detach())
        return {'loss_align_maps': self.weight(step) * self.align(*map(local_view, maps))}
