from collections.abc import Sequence
from typing import ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mmmuse.errors import InputError
from mmmuse.functional import hierarchical_context_loss, map_view
from mmmuse.registry import MODELS
from mmmuse.tapping.features import FeatureSpec, NetworkSpecs, TransferFeatures
from mmmuse.tapping.progress import warmed_up

from .transfer_loss import TransferLoss, chosen_modules


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
class ReviewKDLoss(TransferLoss):
    """Knowledge review: the teacher's maps at each level are learned from all deeper levels.

    From the deepest level up, each of the student's maps is fused with what has come
    from below, projected to the teacher's channels, brought to its grid (average
    pooling or bilinear), and compared by
    :func:`mmmuse.functional.hierarchical_context_loss`.

    Args:
        student: Shapes of the network that learns; inferred.
        teacher: Shapes of the network that it learns from; inferred.
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

    reads = frozenset({'maps'})
    min_batch_size: ClassVar[int] = 2  # For the batch norm of a pooled feature.

    def __init__(
        self,
        student: NetworkSpecs,
        teacher: NetworkSpecs,
        modules: Sequence[int] | None = None,
        pooled_last: bool = True,
        mid_channels: int | None = None,
        loss_weight: float = 0.6,
        warmup: float = 20 / 240,
    ) -> None:
        super().__init__(student, teacher, loss_weight)
        if not 0 <= warmup <= 1:
            raise InputError(f'ReviewKDLoss: warmup is in [0, 1], got {warmup}')
        self.modules_compared = sorted(
            chosen_modules('ReviewKDLoss', modules, len(student.modules), student)
        )
        same_number = modules is not None or len(student.modules) == len(teacher.modules)
        if not same_number or max(self.modules_compared) > len(teacher.modules):
            raise InputError(
                f'ReviewKDLoss compares modules {self.modules_compared} of both networks, and the '
                f'student has {len(student.modules)} taps, the teacher {len(teacher.modules)}: give '
                'both as many, or choose with modules=[...]'
            )
        if pooled_last and None in (student.last, teacher.last):
            raise InputError(
                'ReviewKDLoss compares the pooled last features: set taps.last of both networks, '
                'or pooled_last=False'
            )
        pairs = [(student.modules[i - 1], teacher.modules[i - 1]) for i in self.modules_compared]
        for i, pair in zip(self.modules_compared, pairs):
            if any(spec.grid is None for spec in pair):
                raise InputError(
                    f'ReviewKDLoss compares maps, and module {i} of a network puts out a vector: tap '
                    'a module before the pooling'
                )
        self.pooled_last = pooled_last
        self.warmup = warmup
        if pooled_last:
            pairs.append((student.last, teacher.last))
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

    def forward(self, features: TransferFeatures) -> dict[str, Tensor]:
        """Return ``loss_review_kd``."""
        own, other = (
            [map_view(network.modules[i - 1]) for i in self.modules_compared]
            for network in (features.student, features.teacher)
        )
        if self.pooled_last:
            own.append(features.student.last_vector[..., None, None])
            other.append(features.teacher.last_vector[..., None, None])
        total, below = 0.0, None
        for level, feature, target in reversed(list(zip(self.levels, own, other))):
            compared, below = level(feature, below)
            total = total + hierarchical_context_loss(_on_grid(compared, target), target)
        return {'loss_review_kd': warmed_up(self.loss_weight, self.warmup) * total}


def _on_grid(feature: Tensor, target: Tensor) -> Tensor:
    """Return a map on another's grid."""
    grid = target.shape[2:]
    if feature.shape[2:] == grid:
        return feature
    if feature.shape[2] > grid[0]:
        return F.adaptive_avg_pool2d(feature, grid)
    return F.interpolate(feature, grid, mode='bilinear')
