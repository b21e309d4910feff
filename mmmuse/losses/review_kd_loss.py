from collections.abc import Sequence
from typing import ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mmmuse.arguments import Fraction, NonNegativeFloat, PositiveInt
from mmmuse.errors import InputError
from mmmuse.functional import hierarchical_context_loss, map_view
from mmmuse.registry import MODELS
from mmmuse.tapping.features import FeatureSpec, NetworkSpecs, Step

from .distill_loss import FeatureLoss


class AttentionFusion(nn.Module):
    """A level of the review: its own map and what comes from below, weighed by attention.

    Args:
        in_channels: Channels of the student's map.
        mid_channels: Channels in which levels are fused.
        out_channels: Channels of the teacher's map.
        deepest: Whether there is nothing below.
    """

    def __init__(
        self, in_channels: int, mid_channels: int, out_channels: int, deepest: bool
    ) -> None:
        super().__init__()
        self.reduce = nn.Sequential(
            nn.Conv2d(in_channels, mid_channels, 1, bias=False), nn.BatchNorm2d(mid_channels)
        )
        self.attention = None if deepest else nn.Conv2d(2 * mid_channels, 2, 1)
        self.project = nn.Sequential(
            nn.Conv2d(mid_channels, out_channels, 3, padding=1, bias=False),
            nn.BatchNorm2d(out_channels),
        )

    def forward(self, feature: Tensor, below: Tensor | None) -> tuple[Tensor, Tensor]:
        """Return what is compared, ``(N, C_out, H, W)``, and what goes up, ``(N, C_mid, H, W)``."""
        fused = self.reduce(feature)
        if self.attention is not None:
            below = F.interpolate(below, fused.shape[2:], mode='nearest')
            weights = self.attention(torch.cat([fused, below], 1)).sigmoid()
            fused = fused * weights[:, :1] + below * weights[:, 1:]
        return self.project(fused), fused


@MODELS.register_module()
class ReviewKDLoss(FeatureLoss):
    """Knowledge review: the teacher's maps at each level are learned from all deeper levels.

    From the deepest level up, each of the student's maps is fused with what has come
    from below, projected to the teacher's channels, brought to its grid (average
    pooling or bilinear), and compared by
    :func:`mmmuse.functional.hierarchical_context_loss`.

    Args:
        learner: Shapes of the network that learns; inferred.
        source: Shapes of the network that it learns from; inferred.
        modules: Which modules are compared, from 1 (the first tap) to T (the last); all
            by default.
        pooled_last: Whether the pooled last features are a level below the deepest map,
            as in the public code.
        mid_channels: Channels in which levels are fused; by default those of the
            student's deepest map, at most 512, as in the public code.
        loss_weight: Factor on the sum over the levels; 0.6 in the public code for
            ResNet-56 to ResNet-20 on CIFAR-100.
        warmup: Part of the training, 0 to 1, over which the weight rises linearly from 0;
            20 of 240 epochs in the public code.

    Returns:
        ``loss_review_kd``.

    Raises:
        InputError: If the networks differ in their number of modules and none are chosen,
            a module is not there in both, or is a vector.

    Source: "Distilling Knowledge via Knowledge Review" (Chen et al., CVPR 2021).
    """

    needs_two_networks = True
    min_batch_size: ClassVar[int] = 2  # For the batch norm of a pooled feature.

    def __init__(
        self,
        learner: NetworkSpecs,
        source: NetworkSpecs,
        modules: Sequence[int] | None = None,
        pooled_last: bool = True,
        mid_channels: PositiveInt | None = None,
        loss_weight: NonNegativeFloat = 0.6,
        warmup: Fraction = 20 / 240,
    ) -> None:
        modules = sorted(modules) if isinstance(modules, (list, tuple)) else modules
        super().__init__(learner, source, loss_weight, modules, warmup=warmup)
        pairs = list(zip(self.local_specs, self.target_specs, strict=True))
        if pooled_last and None in (learner.last, source.last):
            raise InputError(
                'ReviewKDLoss compares the pooled last features: set taps.last of both networks, '
                'or pooled_last=False'
            )
        self.pooled_last = pooled_last
        if pooled_last:
            pairs.append((learner.last, source.last))
        self.levels = self._build_levels(pairs, mid_channels)

    @staticmethod
    def _build_levels(
        pairs: Sequence[tuple[FeatureSpec, FeatureSpec]], mid_channels: int | None
    ) -> nn.ModuleList:
        mid_channels = mid_channels or min(512, pairs[-1][0].channels)
        return nn.ModuleList(
            AttentionFusion(own.channels, mid_channels, other.channels, i == len(pairs) - 1)
            for i, (own, other) in enumerate(pairs)
        )

    @property
    def source_features(self) -> frozenset[str]:
        """The modules' maps, and the pooled last feature."""
        return super().source_features | ({'vector'} if self.pooled_last else set())

    def forward(self, step: Step) -> dict[str, Tensor]:
        """Return ``loss_review_kd``."""
        pairs = [tuple(map(map_view, pair)) for pair in self.pairs(step)]
        if self.pooled_last:
            networks = (step.learner, step.source)
            pairs.append(tuple(network.last_vector[..., None, None] for network in networks))
        total, below = 0.0, None
        for level, (feature, target) in reversed(list(zip(self.levels, pairs, strict=True))):
            compared, below = level(feature, below)
            total = total + hierarchical_context_loss(_on_grid(compared, target), target)
        return {'loss_review_kd': self.weight(step) * total}


def _on_grid(feature: Tensor, target: Tensor) -> Tensor:
    """Return a map on another's grid."""
    grid = target.shape[2:]
    if feature.shape[2:] == grid:
        return feature
    if feature.shape[2] > grid[0]:
        return F.adaptive_avg_pool2d(feature, grid)
    return F.interpolate(feature, grid, mode='bilinear')
