from copy import deepcopy

from mmpretrain.models import EfficientNet

from mmmuse.registry import MODELS


@MODELS.register_module()
class EfficientNetCIFAR(EfficientNet):
    """mmpretrain's EfficientNet whose stem has stride 1, for images of CIFAR's own size.

    Takes the arguments of ``EfficientNet``; names and shapes of all weights are the same.

    Source: Tan and Le, "EfficientNet: Rethinking Model Scaling for Convolutional
    Neural Networks" (ICML 2019). The paper does not give a stem for 32x32; this
    is the cheaper choice, the other being EfficientNet on images resized to 224.
    """

    layer_settings = deepcopy(EfficientNet.layer_settings)
    for _arch in layer_settings.values():
        _arch[0][0][3] = 1  # [[kernel size, channels, SE ratio, stride, ...]]
    del _arch
