from .densenet_cifar import DenseNetCIFAR
from .efficientnet_cifar import EfficientNetCIFAR
from .nasnet import NASNet
from .resnet_cifar import SmallResNetCIFAR
from .shufflenet_cifar import ShuffleNetV1CIFAR
from .truncated import TruncatedBackbone
from .wide_resnet import WideResNet

__all__ = [
    'DenseNetCIFAR',
    'EfficientNetCIFAR',
    'NASNet',
    'ShuffleNetV1CIFAR',
    'SmallResNetCIFAR',
    'TruncatedBackbone',
    'WideResNet',
]
