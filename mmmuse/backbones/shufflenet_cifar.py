import torch
from mmcv.cnn import ConvModule
from mmpretrain.models import ShuffleNetV1
from mmpretrain.models.utils import channel_shuffle
from torch import Tensor, nn

from mmmuse.arguments import PositiveInt
from mmmuse.registry import MODELS


class ShuffleUnitCIFAR(nn.Module):
    """1x1 group convolution, shuffle, depthwise 3x3, 1x1 group convolution, and the input.

    It differs from mmpretrain's ``ShuffleUnit`` as the networks for CIFAR do. The bottleneck has a
    quarter of the channels that the convolutions compute, without those of the pooled input. The
    shuffle comes before the depthwise convolution, which ends in a ReLU. The pooled input is
    concatenated last.

    Args:
        in_channels: Channels in.
        out_channels: Channels out. In a unit that halves the resolution they include those of
            the pooled input; otherwise they equal ``in_channels``.
        groups: Of the last convolution.
        first_groups: Of the first convolution and of the shuffle.
        halve: Whether the resolution is halved.
        **layers: ``conv_cfg``, ``norm_cfg`` and ``act_cfg`` of mmcv's ``ConvModule``.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        groups: int,
        first_groups: int,
        halve: bool,
        **layers,
    ) -> None:
        super().__init__()
        computed = out_channels - in_channels if halve else out_channels
        width = computed // 4
        stride = 2 if halve else 1
        self.first_groups = first_groups
        self.compress = ConvModule(in_channels, width, 1, groups=first_groups, **layers)
        self.depthwise = ConvModule(
            width, width, 3, stride=stride, padding=1, groups=width, **layers
        )
        self.expand = ConvModule(width, computed, 1, groups=groups, **{**layers, 'act_cfg': None})
        self.pool = nn.AvgPool2d(3, stride=2, padding=1) if halve else None
        self.relu = nn.ReLU()

    def forward(self, x: Tensor) -> Tensor:
        """Return ``(N, out_channels, h, w)``."""
        out = self.compress(x)
        if self.first_groups > 1:
            out = channel_shuffle(out, self.first_groups)
        out = self.expand(self.depthwise(out))
        return self.relu(out + x if self.pool is None else torch.cat([out, self.pool(x)], 1))


@MODELS.register_module()
class ShuffleNetV1CIFAR(ShuffleNetV1):
    """ShuffleNetV1 for images of CIFAR's size: a stem of one 1x1 convolution, without pooling.

    Takes the arguments of mmpretrain's ``ShuffleNetV1``, except ``with_cp``. Taps:
    ``'conv1'`` (the stem), ``'layers.0'``, ``'layers.1'``, ``'layers.2'``.

    Args:
        *args: Those of ``ShuffleNetV1``.
        in_channels: Of the image.
        **kwargs: Those of ``ShuffleNetV1``.

    Raises:
        ValueError: As ``ShuffleNetV1``, and for ``with_cp``.

    Source: Zhang et al., "ShuffleNet" (CVPR 2018); stem and units for CIFAR are those
    of "Contrastive Representation Distillation" (Tian et al., ICLR 2020), whose
    949,258 parameters at 100 classes they have.
    """

    def __init__(self, *args, in_channels: PositiveInt = 3, **kwargs) -> None:
        super().__init__(*args, **kwargs)
        if self.with_cp:
            raise ValueError('ShuffleNetV1CIFAR does not support with_cp')
        self.conv1 = ConvModule(
            in_channels, self.conv1.out_channels, 1, norm_cfg=self.norm_cfg, act_cfg=self.act_cfg
        )
        del self.maxpool
        self._freeze_stages()

    def make_layer(
        self, out_channels: int, num_blocks: int, first_block: bool = False
    ) -> nn.Sequential:
        """Return a stage; its first unit halves the resolution."""
        units = []
        for i in range(num_blocks):
            units.append(
                ShuffleUnitCIFAR(
                    self.in_channels,
                    out_channels,
                    groups=self.groups,
                    first_groups=1 if first_block and i == 0 else self.groups,
                    halve=i == 0,
                    conv_cfg=self.conv_cfg,
                    norm_cfg=self.norm_cfg,
                    act_cfg=self.act_cfg,
                )
            )
            self.in_channels = out_channels
        return nn.Sequential(*units)

    def _freeze_stages(self) -> None:
        super()._freeze_stages()
        if self.frozen_stages >= 0:
            self.conv1.eval()  # mmpretrain goes on updating the statistics of the stem's BN.

    def init_weights(self) -> None:
        """Initialise as PyTorch does, like the networks for CIFAR, unless ``init_cfg`` is given."""
        fresh = not self.is_init
        super(ShuffleNetV1, self).init_weights()
        if fresh and not self.init_cfg:
            for module in self.modules():
                if isinstance(module, nn.Conv2d):  # Initialised by mmcv.
                    module.reset_parameters()

    def forward(self, x: Tensor) -> tuple[Tensor, ...]:
        """Return the map of each stage of ``out_indices``, for images ``(N, C, H, W)``."""
        x = self.conv1(x)
        outs = []
        for i, layer in enumerate(self.layers):
            x = layer(x)
            if i in self.out_indices:
                outs.append(x)
        return tuple(outs)
