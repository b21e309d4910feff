"""A small dense head, as losses read it, without mmdet."""

from collections.abc import Sequence
from types import SimpleNamespace

import torch
from torch import Tensor, nn

from mmmuse.tapping.dense_head import HeadPass, HeadSpec

NUM_CLASSES, REG_MAX, NUM_CONVS = 5, 3, 4


class DistributionHead(nn.Module):
    """Two towers of convolutions, scores, and a distribution for each side of a box."""

    num_classes = cls_out_channels = NUM_CLASSES
    reg_max = REG_MAX
    integral = None
    prior_generator = SimpleNamespace(strides=[(8, 8), (16, 16)], num_base_priors=[1, 1])

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.cls_convs, self.reg_convs = (
            nn.ModuleList(nn.Conv2d(channels, channels, 1) for _ in range(NUM_CONVS))
            for _ in range(2)
        )
        self.scores = nn.Conv2d(channels, NUM_CLASSES, 1)
        self.sides = nn.Conv2d(channels, 4 * (REG_MAX + 1), 1)

    def forward(self, maps: Sequence[Tensor]) -> tuple[list[Tensor], list[Tensor]]:
        scores, sides = [], []
        for level in maps:
            cls_feature = reg_feature = level
            for cls_conv, reg_conv in zip(self.cls_convs, self.reg_convs):
                cls_feature, reg_feature = cls_conv(cls_feature), reg_conv(reg_feature)
            scores.append(self.scores(cls_feature))
            sides.append(self.sides(reg_feature))
        return scores, sides

    def get_anchors(self, sizes: list, metas: list, device: object) -> tuple[list, list]:
        return sizes, []

    def get_targets(self, anchors: list, valid: list, *args: object, **kwargs: object) -> tuple:
        """Of each level's locations in a row, every third one has an object."""
        labels = [torch.arange(height * width) % 3 for height, width in anchors]
        return None, [level.where(level == 0, NUM_CLASSES).expand(6, -1) for level in labels], None


def head_spec(channels: int) -> HeadSpec:
    """The spec that such a head has in a detector."""
    network = nn.Module()
    with torch.random.fork_rng():  # What a test draws does not depend on it.
        network.bbox_head = DistributionHead(channels)
    network.extract_feat = None
    return HeadSpec.of(network)


def head_pass(channels: int, frozen: bool, dtype: torch.dtype) -> HeadPass:
    """A forward on random maps of two levels, of draws of its own; what losses read are leaves."""
    with torch.random.fork_rng():
        torch.manual_seed(channels)
        return _head_pass(channels, frozen, dtype)


def _head_pass(channels: int, frozen: bool, dtype: torch.dtype) -> HeadPass:
    head = DistributionHead(channels).to(dtype).requires_grad_(not frozen)
    maps = [torch.randn(6, channels, size, size).to(dtype) for size in (4, 2)]
    scores, sides = (
        tuple(level.detach().requires_grad_(not frozen) for level in levels)
        for levels in head(maps)
    )
    inner = {
        f'{tower}.{i}': tuple(
            torch.randn(6, channels, size, size).to(dtype).requires_grad_() for size in (4, 2)
        )
        for tower in ('cls_convs', 'reg_convs')
        for i in range(NUM_CONVS)
    }
    return HeadPass(head, tuple(maps), scores, sides, inner)


def leaves(of: HeadPass) -> list[Tensor]:
    """The tensors of a forward that losses read."""
    return [*of.scores, *of.boxes, *(level for maps in of.inner.values() for level in maps)]
