from mmpretrain.models import DenseNet
from torch import nn

from mmmuse.arguments import PositiveInt
from mmmuse.registry import MODELS


@MODELS.register_module()
class DenseNetCIFAR(DenseNet):
    """mmpretrain's DenseNet with a stem for images of CIFAR's size: one 3x3 convolution.

    Takes the arguments of ``DenseNet``; names of all other weights are the same.

    Args:
        *args: Those of ``DenseNet``.
        in_channels: Of the image.
        **kwargs: Those of ``DenseNet``.

    Source: Huang et al., "Densely Connected Convolutional Networks" (CVPR 2017),
    section 3, implementation details for CIFAR.
    """

    def __init__(self, *args, in_channels: PositiveInt = 3, **kwargs) -> None:
        super().__init__(*args, in_channels=in_channels, **kwargs)
        self.stem = nn.Sequential(
            nn.Conv2d(in_channels, self.init_channels, kernel_size=3, padding=1, bias=False)
        )
