from collections.abc import Iterator, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mmmuse.arguments import NonNegativeFloat, with_checked_arguments
from mmmuse.errors import InputError
from mmmuse.functional import map_view
from mmmuse.functional.precision import at_least_float32
from mmmuse.tapping.features import FeatureSpec, NetworkSpecs, Step

from .distill_loss import FeatureLoss


@with_checked_arguments
class DenseLoss(FeatureLoss):
    """A loss that compares maps of dense prediction location by location.

    The maps are those of a pyramid (``'neck[0]'`` is its first level), of stages of a backbone, or the
    scores of a segmenter (``'decode_head.conv_seg'``). Of a module whose channels differ between the
    networks, a 1x1 convolution in float32 maps the learner's to the source's. It is trained with the
    loss. Where the source sees a larger or smaller image, its map is resized (bilinearly) to the
    learner's grid.

    Args:
        learner: Shapes of the network that learns; inferred.
        source: Shapes of the network that it learns from; inferred.
        loss_weight: See :class:`DistillLoss`.
        modules: See :class:`FeatureLoss`.
        resize: Whether modules of different strides are compared, the source's map resized
            to the learner's grid. Otherwise they are refused: two pyramids whose levels do not
            correspond.
        **weights: ``warmup`` of :class:`DistillLoss`.

    Raises:
        InputError: If a module is a vector, or the strides of a pair differ.
    """

    needs_two_networks = True

    def __init__(
        self,
        learner: NetworkSpecs,
        source: NetworkSpecs,
        loss_weight: NonNegativeFloat,
        modules: Sequence[int] | None = None,
        resize: bool = False,
        **weights: float,
    ) -> None:
        super().__init__(learner, source, loss_weight, modules, **weights)
        if not resize:
            self._check_strides(learner, source)
        self.projections = nn.ModuleDict(
            {
                str(number): Float32Projection(local.channels, target.channels)
                for number, local, target in zip(
                    self.modules, self.local_specs, self.target_specs, strict=True
                )
                if local.channels != target.channels
            }
        )

    def _check_strides(self, learner: NetworkSpecs, source: NetworkSpecs) -> None:
        if learner.image is None or source.image is None:
            return
        for number, local, target in zip(
            self.modules, self.local_specs, self.target_specs, strict=True
        ):
            strides = _stride(local, learner), _stride(target, source)
            if max(strides) > 1.5 * min(strides):
                raise InputError(
                    f'{self.name} compares maps of the same stride, and those of module {number} are '
                    f'{strides[0]:.0f} ({local.path!r} of {learner.taps}) and {strides[1]:.0f} '
                    f'({target.path!r} of {source.taps}): tap the same levels of both networks, or '
                    'set resize=True'
                )

    def map_pairs(self, step: Step) -> Iterator[tuple[Tensor, Tensor]]:
        """Yield each map of the learner and its target, both ``(N, C, H, W)``."""
        for number, (local, target) in zip(self.modules, self.pairs(step), strict=True):
            local, target = map_view(local), map_view(target.detach())
            if str(number) in self.projections:
                local = self.projections[str(number)](local)
            if local.shape[2:] != target.shape[2:]:
                target = F.interpolate(target, local.shape[2:], mode='bilinear')
            yield local, target


class Float32Projection(nn.Conv2d):
    """A 1x1 convolution that is computed in float32 at least, also under autocast.

    Args:
        in_channels: Channels of the map.
        out_channels: Channels that it is mapped to.
    """

    def __init__(self, in_channels: int, out_channels: int) -> None:
        super().__init__(in_channels, out_channels, 1)

    def forward(self, feature: Tensor) -> Tensor:
        """Return a map ``(N, C_out, H, W)``."""
        parameters = map(at_least_float32, (self.weight, self.bias))
        with torch.autocast(feature.device.type, enabled=False):
            return F.conv2d(at_least_float32(feature), *parameters)


def _stride(spec: FeatureSpec, network: NetworkSpecs) -> float:
    """Return the pixels between two neighbours of a map, of the side with more of them."""
    return max(network.image) / max(spec.grid)
