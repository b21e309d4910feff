"""Modulated deformable convolution."""

from operator import itemgetter

from torch import Tensor

from mmmuse.compat.deformed_sampling import convolve, differentiate
from mmmuse.compat.missing_ops import warn_fallback

_settings = itemgetter(
    'stride_h',
    'stride_w',
    'pad_h',
    'pad_w',
    'dilation_h',
    'dilation_w',
    'group',
    'deformable_group',
)


def modulated_deform_conv_forward(
    input: Tensor,
    weight: Tensor,
    bias: Tensor,
    ones: Tensor,
    offset: Tensor,
    mask: Tensor,
    output: Tensor,
    columns: Tensor,
    **settings: int,
) -> None:
    """Fill ``output`` with a deformable convolution that weights each point it samples.

    Source: Zhu et al., "Deformable ConvNets v2" (CVPR 2019), equation 1.

    Args:
        input: Shape ``(N, C, H, W)``.
        weight: Shape ``(D, C / group, kernel_h, kernel_w)``.
        bias: Shape ``(D,)``, or nothing.
        ones, columns: Workspaces of the compiled op; unused.
        offset: Shape ``(N, 2 * deformable_group * kernel_h * kernel_w, H', W')``, in pixels.
        mask: Weights of the points, shape ``(N, deformable_group * kernel_h * kernel_w, H', W')``.
        output: Filled in place, shape ``(N, D, H', W')``.
        settings: Stride, padding, dilation and groups under mmcv's names, and ``with_bias``.
    """
    warn_fallback()
    output.copy_(convolve(input, weight, offset, mask, bias, _settings(settings)))


def modulated_deform_conv_backward(
    input: Tensor,
    weight: Tensor,
    bias: Tensor,
    ones: Tensor,
    offset: Tensor,
    mask: Tensor,
    columns: Tensor,
    grad_input: Tensor,
    grad_weight: Tensor,
    grad_bias: Tensor,
    grad_offset: Tensor,
    grad_mask: Tensor,
    grad_output: Tensor,
    **settings: int,
) -> None:
    """Fill the gradients by input, offset and mask; add to those by weight and bias."""
    grads = differentiate(grad_output, input, weight, offset, mask, bias, _settings(settings))
    grad_input.copy_(grads[0])
    grad_weight.add_(grads[1])
    grad_offset.copy_(grads[2])
    grad_mask.copy_(grads[3])
    if settings['with_bias']:
        grad_bias.add_(grads[4])
