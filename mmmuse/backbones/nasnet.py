from abc import ABC, abstractmethod
from collections.abc import Sequence

import torch
from mmpretrain.models.backbones.base_backbone import BaseBackbone
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from mmmuse.arguments import ModuleCount, PositiveInt
from mmmuse.registry import MODELS


class SeparableBranch(nn.Sequential):
    """Twice ReLU, depthwise k x k convolution, 1x1 convolution, BN.

    Args:
        channels: Channels in and out.
        kernel_size: k.
        stride: Of the first depthwise convolution.
        bias: Whether that convolution has a bias; the others have one.
    """

    def __init__(self, channels: int, kernel_size: int, stride: int = 1, bias: bool = False):
        def half(stride: int, bias: bool) -> list[nn.Module]:
            depthwise = nn.Conv2d(
                channels, channels, kernel_size, stride, kernel_size // 2, 1, channels, bias
            )
            pointwise = nn.Conv2d(channels, channels, 1)
            return [nn.ReLU(), depthwise, pointwise, nn.BatchNorm2d(channels)]

        super().__init__(*half(stride, bias), *half(1, True))


class PreviousAdapter(nn.Module):
    """Bring the output of the cell before last to a cell's channels and resolution.

    An output of twice the resolution goes through two 1x1 convolutions of stride 2, the second one
    shifted by one pixel down and right. An output of other channels goes through one 1x1
    convolution. Any other output is unchanged.

    Args:
        in_channels: Channels of the output of the cell before last.
        channels: Channels of the cell.
        halve: Whether its resolution is twice that of the cell's input.
        spare_convs: Build the convolutions of the other case as well, frozen.
    """

    def __init__(self, in_channels: int, channels: int, halve: bool, spare_convs: bool) -> None:
        super().__init__()
        self.halve = halve
        self.project = in_channels != channels and not halve
        self.relu = nn.ReLU()
        if halve or spare_convs:
            self.even = nn.Conv2d(in_channels, channels // 2, 1)
            self.odd = nn.Conv2d(in_channels, channels - channels // 2, 1)
            self.norm = nn.BatchNorm2d(channels)
        if self.project or spare_convs:
            self.projection = nn.Sequential(
                nn.Conv2d(in_channels, channels, 1), nn.BatchNorm2d(channels)
            )
        for name, used in (
            ('even', halve),
            ('odd', halve),
            ('norm', halve),
            ('projection', self.project),
        ):
            if spare_convs and not used:
                self.get_submodule(name).requires_grad_(False)

    def forward(self, previous: Tensor) -> Tensor:
        """Return ``(N, channels, h, w)``."""
        if self.halve:
            previous = self.relu(previous)
            shifted = nn.functional.pad(previous[..., 1:, 1:], (0, 1, 0, 1))
            halves = [self.even(previous[..., ::2, ::2]), self.odd(shifted[..., ::2, ::2])]
            return self.norm(torch.cat(halves, 1))
        return self.projection(self.relu(previous)) if self.project else previous


class _Cell(nn.Module, ABC):
    """A cell maps the last two outputs to its own output and the last one."""

    bias: bool

    def __init__(self, in_channels: int, channels: int) -> None:
        super().__init__()
        self.reduce = nn.Sequential(
            nn.ReLU(),
            nn.Conv2d(in_channels, channels, 1, bias=self.bias),
            nn.BatchNorm2d(channels),
        )

    def forward(self, outputs: tuple[Tensor, Tensor]) -> tuple[Tensor, Tensor]:
        """Map (last, the one before) to (own, last)."""
        last, previous = outputs
        combined = self.combine(self.reduce(last), self.adapt(previous))
        return torch.cat(combined, 1), last

    @abstractmethod
    def combine(self, last: Tensor, previous: Tensor) -> list[Tensor]:
        """Return the maps to concatenate, from inputs of the cell's own channels."""


class NormalCell(_Cell):
    """NASNet-A's normal cell: 6 x ``channels`` out, at the same resolution."""

    bias = False

    def __init__(
        self, in_channels: int, previous_channels: int, channels: int, halve: bool, spare: bool
    ) -> None:
        super().__init__(in_channels, channels)
        self.last_3x3 = SeparableBranch(channels, 3)
        self.previous_3x3 = SeparableBranch(channels, 3)
        self.last_5x5 = SeparableBranch(channels, 5)
        self.previous_5x5 = SeparableBranch(channels, 5)
        self.previous_3x3_again = SeparableBranch(channels, 3)
        self.mean = nn.AvgPool2d(3, stride=1, padding=1)
        self.adapt = PreviousAdapter(previous_channels, channels, halve, spare)

    def combine(self, last: Tensor, previous: Tensor) -> list[Tensor]:
        """Return the maps to concatenate, from inputs of the cell's own channels."""
        return [
            previous,
            self.last_3x3(last) + last,
            self.previous_3x3(previous) + self.last_5x5(last),
            self.mean(last) + previous,
            2 * self.mean(previous),
            self.previous_5x5(previous) + self.previous_3x3_again(previous),
        ]


class ReductionCell(_Cell):
    """NASNet-A's reduction cell: 4 x ``channels`` out at half the resolution."""

    bias = True

    def __init__(
        self, in_channels: int, previous_channels: int, channels: int, halve: bool, spare: bool
    ) -> None:
        super().__init__(in_channels, channels)
        self.previous_7x7 = SeparableBranch(channels, 7, stride=2, bias=True)
        self.last_5x5 = SeparableBranch(channels, 5, stride=2, bias=True)
        self.previous_7x7_again = SeparableBranch(channels, 7, stride=2, bias=True)
        self.previous_5x5 = SeparableBranch(channels, 5, stride=2, bias=True)
        self.inner_3x3 = SeparableBranch(channels, 3, bias=True)
        self.max = nn.MaxPool2d(3, stride=2, padding=1)
        self.mean = nn.AvgPool2d(3, stride=2, padding=1)
        self.inner_mean = nn.AvgPool2d(3, stride=1, padding=1)
        self.adapt = PreviousAdapter(previous_channels, channels, halve, spare)

    def combine(self, last: Tensor, previous: Tensor) -> list[Tensor]:
        """Return the maps to concatenate, from inputs of the cell's own channels."""
        inner = self.previous_7x7(previous) + self.last_5x5(last)
        pooled = self.max(last)
        with_7x7 = pooled + self.previous_7x7_again(previous)
        return [
            with_7x7,
            self.mean(last) + self.previous_5x5(previous),
            pooled + self.inner_3x3(inner),
            self.inner_mean(inner) + with_7x7,
        ]


@MODELS.register_module()
class NASNet(BaseBackbone):
    """NASNet-A for images of CIFAR's size: N normal cells, a reduction, N, a reduction, N.

    4 @ 1056 is ``num_cells=4, channels=44``: 1056 = 44 x 4 x 6 output channels, at a quarter of
    the input's resolution. A cell returns a pair, its own output and the one before it: tap
    ``'backbone.cells.4[0]'``.

    Args:
        num_cells: N.
        channels: Of the first cells' branches; doubled at each reduction.
        stem_channels: Of the 3x3 convolution in the stem.
        in_channels: Of the image.
        spare_convs: Also build, frozen and unused, the 1x1 convolutions of each cell for the other
            case of resolution, as the public PyTorch code does. The published parameter counts
            include them (5,221,624 for 4 @ 1056 at 100 classes, of which 887,568 are unused).
        norm_eval: Keep BN in eval mode in training.
        init_cfg: MMEngine's.

    Source: Zoph et al., "Learning Transferable Architectures for Scalable Image
    Recognition" (CVPR 2018), figure 4 and appendix A.
    """

    def __init__(
        self,
        num_cells: ModuleCount = 4,
        channels: PositiveInt = 44,
        stem_channels: PositiveInt = 44,
        in_channels: PositiveInt = 3,
        spare_convs: bool = False,
        norm_eval: bool = False,
        init_cfg: dict | Sequence[dict] | None = None,
    ) -> None:
        super().__init__(init_cfg)
        self.norm_eval = norm_eval
        self.stem = nn.Sequential(
            nn.Conv2d(in_channels, stem_channels, 3, padding=1, bias=False),
            nn.BatchNorm2d(stem_channels),
        )
        self.cells = nn.Sequential()
        last = previous = stem_channels
        kinds = [NormalCell] * num_cells
        halve = False
        for kind in [*kinds, ReductionCell, *kinds, ReductionCell, *kinds]:
            reduces = kind is ReductionCell
            channels *= 2 if reduces else 1
            self.cells.append(kind(last, previous, channels, halve, spare_convs))
            last, previous = channels * (4 if reduces else 6), last
            halve = reduces
        self.out_channels = last
        self.relu = nn.ReLU()

    def forward(self, x: Tensor) -> tuple[Tensor]:
        """Map images ``(N, C, H, W)`` to one map ``(N, 24 x channels, H / 4, W / 4)``."""
        stem = self.stem(x)
        last, _ = self.cells((stem, stem))
        return (self.relu(last),)

    def train(self, mode: bool = True) -> 'NASNet':
        """Set the mode; with ``norm_eval`` BN stays in eval mode."""
        super().train(mode)
        if mode and self.norm_eval:
            for module in self.modules():
                if isinstance(module, _BatchNorm):
                    module.eval()
        return self
