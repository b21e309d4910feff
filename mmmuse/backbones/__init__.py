from .densenet_cifar import DenseNetCIFAR
from .efficientnet_cifar import EfficientNetCIFAR
from .nasnet import NASNet
from .truncated import TruncatedBackbone

__all__ = ['DenseNetCIFAR', 'EfficientNetCIFAR', 'NASNet', 'TruncatedBackbone']
