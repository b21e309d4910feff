"""Parameters and multiply-adds: the real numbers, and those of the paper's convention."""

from collections.abc import Sequence
from math import ceil
from typing import NamedTuple

import torch
from mmcv.cnn.bricks import Conv2dAdaptivePadding
from mmengine.analysis import FlopAnalyzer
from torch import Tensor, nn

from mmmuse.errors import ImageShapeError, InputError, first_line
from mmmuse.tapping.dry_run import blank_samples_added, frozen_in_eval


class Complexity(NamedTuple):
    """Size and cost of a network for one image.

    Attributes:
        params: Parameters.
        flops: Multiply-adds, which the paper calls FLOPs.
    """

    params: int
    flops: int


def real_complexity(network: nn.Module, image_shape: tuple[int, int, int]) -> Complexity:
    """Count parameters and multiply-adds (MACs, as fvcore does) through MMEngine's analysis.

    Args:
        network: Maps images ``(N, C, H, W)`` to a tensor, or a tuple of them. A detector of mmdet also
            receives blank data samples.
        image_shape: ``(C, H, W)``.

    Raises:
        ImageShapeError: If the network does not take such images.
    """
    flops = multiply_adds(network, image_shape)['']
    return Complexity(sum(p.numel() for p in network.parameters()), flops)


def multiply_adds(
    network: nn.Module, image_shape: tuple[int, int, int], parts: Sequence[str] = ()
) -> dict[str, int]:
    """Count the multiply-adds of a network and of parts of it, in one call of the network.

    Args:
        network: As of :func:`real_complexity`.
        image_shape: ``(C, H, W)``.
        parts: Names of submodules.

    Returns:
        Those of the whole network, by the name ``''``, and of each part.

    Raises:
        ImageShapeError: If the network does not take such images.
    """
    check_image_shape(network, image_shape)
    image = _blank_image(network, image_shape)
    with frozen_in_eval(network), blank_samples_added(network):
        # Additions and norms are not multiply-adds.
        analyzer = FlopAnalyzer(network, (image,)).unsupported_ops_warnings(False)
        analyzer = analyzer.uncalled_modules_warnings(False)
        return {name: int(analyzer.total(name)) for name in ('', *parts)}


def check_image_shape(network: nn.Module, image_shape: tuple[int, int, int]) -> None:
    """Check that a network takes images of a shape, by one call of it.

    Args:
        network: As of :func:`real_complexity`.
        image_shape: ``(C, H, W)``.

    Raises:
        ImageShapeError: If it does not.
        InputError: If it does not run on images alone, as a detector that is prompted by texts.
    """
    shape = tuple(image_shape)
    if min(shape) < 1:
        raise ImageShapeError(f'the shape of an image has positive sizes, got {shape}')
    with frozen_in_eval(network), blank_samples_added(network):
        try:
            network(_blank_image(network, shape))
        except (InputError, torch.OutOfMemoryError):
            raise
        except (NotImplementedError, TypeError) as error:
            raise InputError(
                f'{type(network).__name__} does not run on a batch of images alone, as its cost is '
                f'measured: {first_line(error)}'
            ) from error
        except (RuntimeError, AssertionError, ValueError, IndexError) as error:
            raise ImageShapeError(
                f'the network does not take images of shape {shape}: {first_line(error)}'
            ) from error


def _blank_image(network: nn.Module, image_shape: tuple[int, int, int]) -> Tensor:
    parameter = next(network.parameters())
    return torch.zeros(1, *image_shape, device=parameter.device, dtype=parameter.dtype)


def paper_complexity(network: nn.Module, image_size: tuple[int, int]) -> Complexity:
    r"""Count as table 3 of the paper does; neither figure is the real cost of a network.

    .. math::
        \sum_{conv} |W| + |b|, \qquad \sum_{conv} |W| \, h_{conv} w_{conv}

    over the 2D convolutions in the order in which they are registered.
    :math:`(h_{conv}, w_{conv})` is the output size of a convolution whose input has the output
    size of the convolution before it; pooling and branches are ignored.

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
