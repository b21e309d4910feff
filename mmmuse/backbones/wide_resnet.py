from collections.abc import Sequence

from mmpretrain.models.backbones.base_backbone import BaseBackbone
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from mmmuse.arguments import Fraction, PositiveInt
from mmmuse.registry import MODELS


class PreActivationBlock(nn.Module):
    """BN, ReLU, 3x3 convolution, twice, and the input added to it.

    Where the channels change, a 1x1 convolution of the first activation is added instead.

    Args:
        in_channels: Channels in.
        out_channels: Channels out.
        stride: Of the first convolution.
        dropout: Probability of a zero between the convolutions.
    """

    def __init__(self, in_channels: int, out_channels: int, stride: int, dropout: float) -> None:
        super().__init__()
        self.bn1 = nn.BatchNorm2d(in_channels)
        self.conv1 = nn.Conv2d(in_channels, out_channels, 3, stride, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(out_channels)
        self.conv2 = nn.Conv2d(out_channels, out_channels, 3, 1, 1, bias=False)
        self.relu = nn.ReLU()
        self.dropout = nn.Dropout(dropout) if dropout else nn.Identity()
        self.shortcut = None
        if in_channels != out_channels:
            self.shortcut = nn.Conv2d(in_channels, out_channels, 1, stride, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        """Return ``(N, out_channels, H / stride, W / stride)``."""
        active = self.relu(self.bn1(x))
        out = self.relu(self.bn2(self.conv1(active)))
        out = self.conv2(self.dropout(out))
        return out + (x if self.shortcut is None else self.shortcut(active))


@MODELS.register_module()
class WideResNet(BaseBackbone):
    """A wide residual network for images of CIFAR's size: WRN-depth-widen_factor.

    A 3x3 convolution of 16 channels and three stages of 16 k, 32 k and 64 k. Blocks normalise
    before they convolve, so the last stage ends in a BN and a ReLU. Taps: ``'conv1'`` (the stem),
    ``'layer1'``, ``'layer2'``, ``'relu'`` (the last stage with these).

    Args:
        depth: 6 n + 4, with n blocks in each stage.
        widen_factor: k.
        dropout: Probability of a zero between a block's convolutions.
        in_channels: Of the image.
        out_indices: Stages, from 0, whose maps are returned; the last one is after its BN and ReLU.
        frozen_stages: -1 for none, 0 for the stem, s for the stem and s stages: no
            gradient, BN in eval mode.
        norm_eval: Keep BN in eval mode in training.
        init_cfg: MMEngine's.

    Raises:
        ValueError: If no network has that depth, or a stage does not exist.

    Source: Zagoruyko and Komodakis, "Wide Residual Networks" (BMVC 2016).
    """

    def __init__(
        self,
        depth: PositiveInt = 40,
        widen_factor: PositiveInt = 2,
        dropout: Fraction = 0.0,
        in_channels: PositiveInt = 3,
        out_indices: Sequence[int] = (2,),
        frozen_stages: int = -1,
        norm_eval: bool = False,
        init_cfg: dict | Sequence[dict] = (
            dict(type='Kaiming', layer='Conv2d'),
            dict(type='Constant', val=1, layer='_BatchNorm'),
        ),
    ) -> None:
        super().__init__(init_cfg if isinstance(init_cfg, dict) else list(init_cfg))
        if depth < 10 or (depth - 4) % 6:
            raise ValueError(f'WideResNet needs a depth of 6 n + 4, got {depth}')
        if not set(out_indices) <= {0, 1, 2} or frozen_stages not in range(-1, 4):
            raise ValueError(
                'WideResNet has stages 0 to 2 and can freeze -1 to 3, got '
                f'out_indices={tuple(out_indices)}, frozen_stages={frozen_stages}'
            )
        self.out_indices = tuple(out_indices)
        self.frozen_stages = frozen_stages
        self.norm_eval = norm_eval
        self.conv1 = nn.Conv2d(in_channels, 16, 3, padding=1, bias=False)
        channels = 16
        for stage in range(3):
            width = 16 * widen_factor * 2**stage
            blocks = []
            for block in range((depth - 4) // 6):
                stride = 2 if stage > 0 and block == 0 else 1
                blocks.append(PreActivationBlock(channels, width, stride, dropout))
                channels = width
            self.add_module(f'layer{stage + 1}', nn.Sequential(*blocks))
        self.bn1 = nn.BatchNorm2d(channels)
        self.relu = nn.ReLU()
        self._freeze_stages()

    def forward(self, x: Tensor) -> tuple[Tensor, ...]:
        """Return the map of each stage of ``out_indices``, for images ``(N, C, H, W)``."""
        x = self.conv1(x)
        outs = []
        for stage in range(3):
            x = self.get_submodule(f'layer{stage + 1}')(x)
            if stage == 2:
                x = self.relu(self.bn1(x))
            if stage in self.out_indices:
                outs.append(x)
        return tuple(outs)

    def train(self, mode: bool = True) -> 'WideResNet':
        """Set training mode, except for frozen modules."""
        super().train(mode)
        self._freeze_stages()
        if mode and self.norm_eval:
            for module in self.modules():
                if isinstance(module, _BatchNorm):
                    module.eval()
        return self

    def _freeze_stages(self) -> None:
        frozen = [self.conv1] if self.frozen_stages >= 0 else []
        frozen += [
            self.get_submodule(f'layer{stage}') for stage in range(1, self.frozen_stages + 1)
        ]
        if self.frozen_stages == 3:
            frozen.append(self.bn1)
        for module in frozen:
            module.eval().requires_grad_(False)

    def get_layer_depth(self, param_name: str, prefix: str = '') -> tuple[int, int]:
        """Return a parameter's layer and the number of layers: the stem, each stage, the head."""
        if not param_name.startswith(prefix):
            return 4, 5
        name = param_name.removeprefix(prefix).removeprefix('backbone.')
        if name.startswith('layer'):
            return int(name[5]), 5
        return 3 if name.startswith('bn1') else 0, 5
