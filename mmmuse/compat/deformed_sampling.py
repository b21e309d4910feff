"""Convolution at displaced points with torchvision's kernels.

mmcv and torchvision agree on the layout of the offsets: of each group of channels and
each of the kernel's points, first y, then x.
"""

import torch
from torch import Tensor

from mmmuse.compat.precision import precise

FAR = 1e6  # Pixels: outside of every map.

Settings = tuple[int, ...]  # stride, padding and dilation, each by y and x; groups of both kinds


def convolve(
    input: Tensor,
    weight: Tensor,
    offset: Tensor,
    mask: Tensor | None,
    bias: Tensor | None,
    settings: Settings,
) -> Tensor:
    """Return the convolution, shape ``(N, D, H', W')``; mask and bias are optional."""
    operands = _operands(input, weight, offset, mask, bias)
    return torch.ops.torchvision.deform_conv2d(*operands, *settings, mask is not None)


def differentiate(
    grad_output: Tensor,
    input: Tensor,
    weight: Tensor,
    offset: Tensor,
    mask: Tensor | None,
    bias: Tensor | None,
    settings: Settings,
) -> tuple[Tensor, ...]:
    """Return the gradients by input, weight, offset, mask and bias."""
    operands = _operands(input, weight, offset, mask, bias)
    by_input, by_weight, by_offset, by_mask, by_bias = (
        torch.ops.torchvision._deform_conv2d_backward(
            precise(grad_output), *operands, *settings, mask is not None
        )
    )
    border = _at_border(operands[2], weight.shape[2:], settings)
    return by_input, by_weight, by_offset.masked_fill(border, 0), by_mask, by_bias


def _at_border(offset: Tensor, kernel: tuple[int, int], settings: Settings) -> Tensor:
    """Return which offsets are of points exactly one pixel outside, at y or x of -1.

    There the sampled value is not differentiable. With offsets of 0, as at the start of a
    training, this holds on the border of every padded map. torchvision takes the one-sided derivative
    towards the inside; mmcv takes 0.
    """
    stride_y, stride_x, pad_y, pad_x, dilation_y, dilation_x, _, groups = settings
    y, x = offset.unflatten(1, (groups, *kernel, 2)).unbind(4)  # (N, groups, kH, kW, H', W')
    steps = [torch.arange(size, device=offset.device) for size in y.shape[2:]]
    y = y + (steps[0] * dilation_y)[:, None, None, None] + (steps[2] * stride_y - pad_y)[:, None]
    x = x + (steps[1] * dilation_x)[:, None, None] + (steps[3] * stride_x - pad_x)
    outside = (y == -1) | (x == -1)
    return torch.stack([outside, outside], dim=4).flatten(1, 4)


def _operands(
    input: Tensor, weight: Tensor, offset: Tensor, mask: Tensor | None, bias: Tensor | None
) -> list[Tensor]:
    """Return the kernels' operands, with placeholders for a missing mask or bias.

    A point displaced by no number is outside the map, as in mmcv; torchvision would read
    from memory that is not the map's.
    """
    offset = precise(offset).nan_to_num(nan=FAR, posinf=FAR, neginf=-FAR)
    if mask is None:
        mask = input.new_zeros(len(input), 1)
    if bias is None or not bias.numel():
        bias = weight.new_zeros(len(weight))
    return [precise(operand) for operand in (input, weight, offset, mask, bias)]
