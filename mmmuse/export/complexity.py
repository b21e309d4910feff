"""Parameters and multiply-adds: as they are, and as the paper counts them."""

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from math import ceil
from typing import NamedTuple

import torch
from mmcv.cnn.bricks import Conv2dAdaptivePadding
from mmengine.analysis import get_model_complexity_info
from mmengine.logging import MMLogger
from torch import nn

from mmmuse.errors import InputError
from mmmuse.tapping.dry_run import frozen_in_eval


class Complexity(NamedTuple):
    """Size and cost of a network for one image.

    Attributes:
        params: Parameters.
        flops: Multiply-adds, or what the paper calls FLOPs.
    """

    params: int
    flops: int


def real_complexity(network: nn.Module, image_shape: tuple[int, int, int]) -> Complexity:
    """Count parameters and multiply-adds (MACs, as fvcore does) through MMEngine's analysis.

    Args:
        network: Maps images ``(N, C, H, W)`` to a tensor, or a tuple of them.
        image_shape: ``(C, H, W)``.

    Raises:
        InputError: If the network does not take such images.
    """
    if min(image_shape) < 1:
        raise InputError(f'an image has no shape {tuple(image_shape)}')
    parameter = next(network.parameters())
    image = torch.zeros(1, *image_shape, device=parameter.device, dtype=parameter.dtype)
    with frozen_in_eval(network), _quiet():
        try:
            network(image)
        except RuntimeError as error:
            raise InputError(
                f'the network does not take images of shape {tuple(image_shape)}: {error}'
            ) from error
        info = get_model_complexity_info(
            network, inputs=(image,), show_table=False, show_arch=False
        )
    return Complexity(sum(p.numel() for p in network.parameters()), int(info['flops']))


@contextmanager
def _quiet() -> Iterator[None]:
    """Keep back the warnings of the analysis: additions and norms are not multiply-adds."""
    logger = MMLogger.get_current_instance()
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        yield
    finally:
        logger.setLevel(level)


def paper_complexity(network: nn.Module, image_size: tuple[int, int]) -> Complexity:
    r"""Count as table 3 of the paper does; neither figure is what a network really costs.

    .. math::
        \sum_{conv} |W| + |b|, \qquad \sum_{conv} |W| \, h_{conv} w_{conv}

    over the 2D convolutions in the order in which they are registered.
    :math:`(h_{conv}, w_{conv})` starts as the image's size and goes through each
    convolution's output formula in turn, whatever that convolution really
    reads: pooling and branches are ignored.

    Args:
        network: A backbone, or a part of one.
        image_size: ``(H, W)``.

    Source: not in the paper; this convention reproduces its table 3.

    Example:
        >>> network = nn.Sequential(nn.Conv2d(3, 8, 3, stride=2, padding=1), nn.MaxPool2d(2),
        ...                         nn.Conv2d(8, 4, 1, bias=False))
        >>> paper_complexity(network, (32, 32))
        Complexity(params=256, flops=63488)
    """
    size = image_size
    params = flops = 0
    for conv in network.modules():
        if isinstance(conv, nn.Conv2d):
            size = tuple(_output_length(conv, axis, length) for axis, length in enumerate(size))
            params += sum(parameter.numel() for parameter in conv.parameters())
            flops += conv.weight.numel() * size[0] * size[1]
    return Complexity(params, flops)


def _output_length(conv: nn.Conv2d, axis: int, length: int) -> int:
    if isinstance(conv, Conv2dAdaptivePadding) or conv.padding == 'same':
        return ceil(length / conv.stride[axis])
    padding = 0 if conv.padding == 'valid' else conv.padding[axis]
    reach = conv.dilation[axis] * (conv.kernel_size[axis] - 1)
    return (length + 2 * padding - reach - 1) // conv.stride[axis] + 1
