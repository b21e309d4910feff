"""Modulated deformable convolution."""

from torch import Tensor

from mmmuse.compat.deformed_sampling import Settings, convolve, differentiate
from mmmuse.compat.missing_ops import say_so


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
        ones: Room for the real op.
        offset: Shape ``(N, 2 * deformable_group * kernel_h * kernel_w, H', W')``, in pixels.
        mask: Weights of the points, shape ``(N, deformable_group * kernel_h * kernel_w, H', W')``.
        output: What is filled, shape ``(N, D, H', W')``.
        columns: Room for the real op.
        settings: Those of :func:`_settings`.
    """
    say_so()
    output.copy_(convolve(input, weight, offset, mask, bias, _settings(**settings)))


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
    grads = differentiate(grad_output, input, weight, offset, mask, bias, _settings(**settings))
    grad_input.copy_(grads[0])
    grad_weight.add_(grads[1])
    grad_offset.copy_(grads[2])
    grad_mask.copy_(grads[3])
    if settings['with_bias']:
        grad_bias.add_(grads[4])


def _settings(
    *,
    kernel_h: int,
    kernel_w: int,
    stride_h: int,
    stride_w: int,
    pad_h: int,
    pad_w: int,
    dilation_h: int,
    dilation_w: int,
    group: int,
    deformable_group: int,
    with_bias: bool,
) -> Settings:
    return stride_h, stride_w, pad_h, pad_w, dilation_h, dilation_w, group, deformable_group
