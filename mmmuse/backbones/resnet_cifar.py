from collections.abc import Sequence
from typing import ClassVar, Literal

from mmpretrain.models import ResNet_CIFAR
from mmpretrain.models.backbones.resnet import BasicBlock

from mmmuse.arguments import NonNegativeInt, PositiveInt, PositiveInts
from mmmuse.registry import MODELS


@MODELS.register_module()
class SmallResNetCIFAR(ResNet_CIFAR):
    """The ResNets made for CIFAR: three stages of 16, 32 and 64 channels.

    mmpretrain's ``ResNet_CIFAR`` is the ImageNet ResNet with a small stem; this is the family of
    depth 6 n + 2 with n basic blocks in each stage, and a 1x1 convolution with BN wherever a block
    changes its shape. Taps: ``'relu'`` (the stem), ``'layer1'``, ``'layer2'``, ``'layer3'``.

    Args:
        depth: 20, 32, 44, 56 or 110.
        stem_channels: Of the 3x3 convolution in the stem.
        base_channels: Of the first stage; doubled in each of the next.
        num_stages: Stages that are built, 1 to 3.
        strides: Of the first block of each stage.
        dilations: Of each stage.
        out_indices: Stages, from 0, whose maps are returned.
        zero_init_residual: Whether each block starts as the identity. Off, as in the
            comparison that table 7 quotes (RepDistiller).
        **kwargs: Those of mmpretrain's ``ResNet_CIFAR``: ``frozen_stages``,
            ``norm_eval``, ``in_channels``, ...

    Source: He et al., "Deep Residual Learning for Image Recognition" (CVPR 2016),
    section 4.2, with projections where the shape changes, as in "Contrastive
    Representation Distillation" (Tian et al., ICLR 2020).
    """

    arch_settings: ClassVar[dict] = {6 * n + 2: (BasicBlock, (n, n, n)) for n in (3, 5, 7, 9, 18)}

    def __init__(
        self,
        depth: PositiveInt,
        stem_channels: PositiveInt = 16,
        base_channels: PositiveInt = 16,
        num_stages: Literal[1, 2, 3] = 3,
        strides: PositiveInts = (1, 2, 2),
        dilations: PositiveInts = (1, 1, 1),
        out_indices: Sequence[NonNegativeInt] = (2,),
        zero_init_residual: bool = False,
        **kwargs,
    ) -> None:
        super().__init__(
            depth,
            stem_channels=stem_channels,
            base_channels=base_channels,
            num_stages=num_stages,
            strides=strides[:num_stages],
            dilations=dilations[:num_stages],
            out_indices=out_indices,
            zero_init_residual=zero_init_residual,
            **kwargs,
        )

    def get_layer_depth(self, param_name: str, prefix: str = '') -> tuple[int, int]:
        """Return a parameter's layer and the number of layers: the stem, each stage, the head."""
        num_layers = len(self.res_layers) + 2
        if not param_name.startswith(prefix):
            return num_layers - 1, num_layers
        name = param_name.removeprefix(prefix).removeprefix('backbone.')
        return int(name[5]) if name.startswith('layer') else 0, num_layers
