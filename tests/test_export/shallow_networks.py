"""Few of the blocks that the stages of a network repeat: one of each kind, which have the graph of all.

This imports nothing of mmmuse, and is run by processes that cannot.
"""

from mmpretrain.models import EfficientNet, ResNet

_WHOLE = 152  # This depth keeps all of its blocks, so that one deep network is exported.

# The first block of a stage changes the size or the channels, the others change neither.
_RESNET = (2, 1, 1, 1)
# Columns: kernel, channels, ratio of the squeeze, stride, expansion, kind of block.
_EFFICIENTNET = [
    [[3, 32, 0, 2, 0, -1]],
    [[3, 16, 4, 1, 1, 0]],
    [[3, 24, 4, 2, 6, 0], [3, 24, 4, 1, 6, 0]],
    [[5, 40, 4, 2, 6, 0]],
    [[3, 80, 4, 2, 6, 0], [5, 112, 4, 1, 6, 0]],
    [[5, 192, 4, 2, 6, 0], [3, 320, 4, 1, 6, 0]],
    [[1, 1280, 0, 1, 0, -1]],
]


def make_shallow() -> None:
    """Build ResNets and EfficientNet-B0 with few blocks from now on, in this process."""
    for depth, (block, _) in ResNet.arch_settings.items():
        if depth != _WHOLE:
            ResNet.arch_settings[depth] = (block, _RESNET)
    EfficientNet.layer_settings['b'] = _EFFICIENTNET
