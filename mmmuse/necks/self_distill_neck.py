from collections.abc import Sequence
from math import isqrt

from mmcv.cnn import ConvModule
from mmengine.model import BaseModule, ModuleList, Sequential
from torch import Tensor

from mmmuse.arguments import NonNegativeInt, PositiveInt, PositiveInts
from mmmuse.errors import InputError
from mmmuse.registry import MODELS


@MODELS.register_module()
class SelfDistillNeck(BaseModule):
    """Exit bottlenecks: map each shallow feature to the channels and resolution of the last one.

    Exit i is ``1x1 conv to C_T / reduction, k x k conv of stride k, 1x1 conv to C_T``, each with
    norm and ReLU, where k is the stride between ``F_i`` and ``F_T``. Tokens are reshaped to a
    square map first, without their prefix (class) tokens.

    Args:
        in_channels: Channels of each shallow feature; inferred.
        out_channels: ``C_T``, channels of the last feature; inferred.
        strides: k of each exit; inferred. Where the last feature is a vector (or 1x1), k is the
            stride to the smallest tapped map. That case is assumed; the paper does not give it.
        num_prefix_tokens: Tokens before the grid, per feature; inferred.
        reduction: Divisor of the bottleneck's width; 4 in BYOT's public code.
            The paper does not give this.
        norm_cfg: Norm layers of the bottlenecks.
        init_cfg: MMEngine's.

    Raises:
        InputError: If the lists differ in length, or tokens do not form a square grid.

    Source: the bottlenecks of BYOT (Zhang et al., ICCV 2019) in its public
    code, which MUSE cites for its exits.
    """

    def __init__(
        self,
        in_channels: PositiveInts,
        out_channels: PositiveInt,
        strides: PositiveInts,
        num_prefix_tokens: Sequence[NonNegativeInt] | None = None,
        reduction: PositiveInt = 4,
        norm_cfg: dict | None = None,
        init_cfg: dict | None = None,
    ) -> None:
        super().__init__(init_cfg)
        self.num_prefix_tokens = tuple(num_prefix_tokens or [0] * len(in_channels))
        if not len(in_channels) == len(strides) == len(self.num_prefix_tokens):
            raise InputError(
                f'SelfDistillNeck needs one stride and one num_prefix_tokens per feature, got '
                f'{len(in_channels)} in_channels, {len(strides)} strides, '
                f'{len(self.num_prefix_tokens)} num_prefix_tokens'
            )
        self.in_channels = tuple(in_channels)
        self.out_channels = out_channels
        self.strides = tuple(strides)
        self.reduction = reduction
        self.norm_cfg = norm_cfg or dict(type='BN')
        width = max(out_channels // reduction, 1)
        self.branches = ModuleList(
            Sequential(
                ConvModule(channels, width, 1, norm_cfg=self.norm_cfg),
                ConvModule(width, width, stride, stride=stride, norm_cfg=self.norm_cfg),
                ConvModule(width, out_channels, 1, norm_cfg=self.norm_cfg),
            )
            for channels, stride in zip(in_channels, strides, strict=True)
        )

    def config_of(self, index: int) -> dict:
        """Return the config of a neck with only one of this neck's bottlenecks."""
        return dict(
            type='mmmuse.SelfDistillNeck',
            in_channels=[self.in_channels[index]],
            out_channels=self.out_channels,
            strides=[self.strides[index]],
            num_prefix_tokens=[self.num_prefix_tokens[index]],
            reduction=self.reduction,
            norm_cfg=dict(self.norm_cfg),
        )

    def forward(self, features: Sequence[Tensor]) -> tuple[Tensor, ...]:
        """Return one map ``(N, C_T, h, w)`` per feature (a map, tokens or a vector)."""
        if len(features) != len(self.branches):
            raise InputError(
                f'SelfDistillNeck has {len(self.branches)} exits and got {len(features)} features'
            )
        return tuple(self.one(i, feature) for i, feature in enumerate(features))

    def one(self, index: int, feature: Tensor) -> Tensor:
        """Return the map ``(N, C_T, h, w)`` of one exit, from its feature."""
        return self.branches[index](_as_map(feature, self.num_prefix_tokens[index]))


def _as_map(feature: Tensor, num_prefix_tokens: int) -> Tensor:
    if feature.ndim == 4:
        return feature
    if feature.ndim == 2:
        return feature[..., None, None]
    grid = feature[:, num_prefix_tokens:]
    side = isqrt(grid.shape[1])
    if side**2 != grid.shape[1]:
        raise InputError(
            f'{grid.shape[1]} tokens after {num_prefix_tokens} prefix tokens do not form a '
            'square grid; train on square images or set num_prefix_tokens'
        )
    return grid.transpose(1, 2).unflatten(2, (side, side))
