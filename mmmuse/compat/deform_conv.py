"""Deformable convolution."""

from operator import itemgetter

import torch
from torch import Tensor

from mmmuse.compat.deformed_sampling import convolve, differentiate
from mmmuse.compat.missing_ops import warn_fallback

_settings = itemgetter(
    'dH', 'dW', 'padH', 'padW', 'dilationH', 'dilationW', 'group', 'deformable_group'
)


def deform_conv_forward(
    input: Tensor,
    weight: Tensor,
    offset: Tensor,
    output: Tensor,
    columns: Tensor,
    ones: Tensor,
    **settings: int,
) -> None:
    """Fill ``output`` with a convolution that samples its input at displaced points.

    Source: Dai et al., "Deformable Convolutional Networks" (ICCV 2017), equation 2.

    Args:
        input: Shape ``(N, C, H, W)``.
        weight: Shape ``(D, C / group, kH, kW)``.
        offset: Shape ``(N, 2 * deformable_group * kH * kW, H', W')``, in pixels.
        output: Filled in place, shape ``(N, D, H', W')``.
        columns, ones: Workspaces of the compiled op; unused.
        settings: Stride, padding, dilation and groups under mmcv's names.
    """
    warn_fallback()
    output.copy_(convolve(input, weight, offset, None, None, _settings(settings)))


def deform_conv_backward_input(
    input: Tensor,
    offset: Tensor,
    grad_output: Tensor,
    grad_input: Tensor,
    grad_offset: Tensor,
    weight: Tensor,
    columns: Tensor,
    **settings: int,
) -> None:
    """Fill ``grad_input`` and ``grad_offset``."""
    grads = differentiate(grad_output, input, weight, offset, None, None, _settings(settings))
    grad_input.copy_(grads[0])
    grad_offset.copy_(grads[2])


def deform_conv_backward_parameters(
    input: Tensor,
    offset: Tensor,
    grad_output: Tensor,
    grad_weight: Tensor,
    columns: Tensor,
    ones: Tensor,
    scale: float,
    **settings: int,
) -> None:
    """Add ``scale`` times the gradient to ``grad_weight``."""
    # mmcv does not pass the weight, and its gradient does not depend on it.
    weight = torch.zeros_like(grad_weight)
    grads = differentiate(grad_output, input, weight, offset, None, None, _settings(settings))
    grad_weight.add_(grads[1], alpha=scale)
