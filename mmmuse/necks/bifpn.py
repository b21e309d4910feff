from collections.abc import Sequence
from typing import Annotated

import torch
import torch.nn.functional as F
from mmcv.cnn import ConvModule, DepthwiseSeparableConvModule
from mmengine.model import BaseModule, ModuleList
from torch import Tensor, nn

from mmmuse.arguments import Length, ModuleCount, PositiveFloat, PositiveInt
from mmmuse.errors import InputError
from mmmuse.functional import fast_normalised_fusion
from mmmuse.registry import MODELS


@MODELS.register_module()
class BiFPN(BaseModule):
    """Bidirectional feature pyramid: each level reads the deeper ones, then the shallower ones.

    It starts with lateral 1x1 convolutions. Each layer has a top-down path, from the deepest level
    to the shallowest, and a bottom-up path back. Maps are fused with learned weights
    (:func:`mmmuse.functional.fast_normalised_fusion`), followed by a depthwise separable 3x3
    convolution, norm and ReLU. Every level has its own number of channels: a neighbour's map is
    projected by a 1x1 convolution with norm, and resized by nearest neighbour or max pooling.

    Args:
        in_channels: Channels ``C_i`` of each level, shallow to deep.
        width: Channels of a level inside the pyramid, as a multiple of ``C_i``; 2 in
            FRSKD's public code.
        num_layers: Number of layers; 1 in FRSKD's public code.
        norm_cfg: Norm layers.
        init_cfg: MMEngine's.

    Raises:
        InputError: If there are fewer than two levels, or width or number of layers is not above 0.

    Attributes:
        out_channels: Channels of each level of the output.

    Source: "EfficientDet" (Tan et al., CVPR 2020), section 3.3, with the levels'
    widths of BiFPNc in "Refine Myself by Teaching Myself" (FRSKD, Ji et al.,
    CVPR 2021). One separable convolution at a node as in EfficientDet, and ReLU
    for its swish, are assumed; FRSKD's paper does not give them.
    """

    def __init__(
        self,
        in_channels: Annotated[Sequence[PositiveInt], Length(2)],
        width: PositiveFloat = 2.0,
        num_layers: ModuleCount = 1,
        norm_cfg: dict | None = None,
        init_cfg: dict | None = None,
    ) -> None:
        super().__init__(init_cfg)
        norm_cfg = norm_cfg or dict(type='BN')
        self.out_channels = tuple(max(round(width * channels), 1) for channels in in_channels)
        self.laterals = ModuleList(
            ConvModule(channels, out_channels, 1, norm_cfg=norm_cfg)
            for channels, out_channels in zip(in_channels, self.out_channels, strict=True)
        )
        self.layers = ModuleList(BiFPNLayer(self.out_channels, norm_cfg) for _ in range(num_layers))

    def forward(self, features: Sequence[Tensor]) -> tuple[Tensor, ...]:
        """Return one map ``(N, out_channels[i], H_i, W_i)`` per map ``(N, C_i, H_i, W_i)``."""
        if len(features) != len(self.laterals):
            raise InputError(f'BiFPN has {len(self.laterals)} levels and got {len(features)} maps')
        maps = tuple(
            lateral(feature) for lateral, feature in zip(self.laterals, features, strict=True)
        )
        for layer in self.layers:
            maps = layer(maps)
        return maps


class BiFPNLayer(BaseModule):
    """One top-down and one bottom-up path; see :class:`BiFPN`.

    Args:
        channels: Of each level, shallow to deep.
        norm_cfg: Norm layers.
    """

    def __init__(self, channels: Sequence[int], norm_cfg: dict) -> None:
        super().__init__()
        levels = range(len(channels))
        self.top_down = ModuleList(
            FusionNode(2, channels[i + 1], channels[i], norm_cfg) for i in levels[:-1]
        )
        # The deepest level has no node in the top-down path, so its bottom-up node has two maps only.
        self.bottom_up = ModuleList(
            FusionNode(2 if i == levels[-1] else 3, channels[i - 1], channels[i], norm_cfg)
            for i in levels[1:]
        )

    def forward(self, maps: Sequence[Tensor]) -> tuple[Tensor, ...]:
        """Return maps of the shapes of the input maps."""
        upper = [maps[-1]]
        for node, own in zip(reversed(self.top_down), reversed(maps[:-1]), strict=True):
            upper.insert(0, node(upper[0], own))
        refined = [upper[0]]
        for i, node in enumerate(self.bottom_up, 1):
            own = (maps[i],) if i == len(maps) - 1 else (maps[i], upper[i])
            refined.append(node(refined[-1], *own))
        return tuple(refined)


class FusionNode(BaseModule):
    """Fuse the map of a neighbouring level with those of a level.

    Args:
        num_maps: Number of maps, the neighbour's included.
        neighbour_channels: Channels of the neighbour's map.
        channels: Channels of the level.
        norm_cfg: Norm layers.
    """

    def __init__(
        self, num_maps: int, neighbour_channels: int, channels: int, norm_cfg: dict
    ) -> None:
        super().__init__()
        self.weights = nn.Parameter(torch.ones(num_maps))
        self.match = ConvModule(neighbour_channels, channels, 1, norm_cfg=norm_cfg, act_cfg=None)
        self.conv = DepthwiseSeparableConvModule(
            channels, channels, 3, padding=1, bias=False, dw_act_cfg=None, pw_norm_cfg=norm_cfg
        )

    def forward(self, neighbour: Tensor, *own: Tensor) -> Tensor:
        """Return a map of the shape of the level's maps."""
        grid = own[0].shape[2:]
        if neighbour.shape[2:].numel() > grid.numel():
            neighbour = self.match(F.adaptive_max_pool2d(neighbour, grid))
        else:
            neighbour = F.interpolate(self.match(neighbour), grid)
        return self.conv(fast_normalised_fusion([neighbour, *own], self.weights))
