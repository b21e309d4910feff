"""RoIAlign with torchvision's kernel."""

import torch
import torchvision
from torch import Tensor

from mmmuse.compat.missing_ops import refuse, warn_fallback
from mmmuse.compat.precision import precise

AVERAGE = 1  # of the pool modes


def roi_align_forward(
    input: Tensor,
    rois: Tensor,
    output: Tensor,
    argmax_y: Tensor,
    argmax_x: Tensor,
    aligned_height: int,
    aligned_width: int,
    spatial_scale: float,
    sampling_ratio: int,
    pool_mode: int,
    aligned: bool,
) -> None:
    """Fill ``output``, shape ``(K, C, aligned_height, aligned_width)``, from ``rois`` ``(K, 5)``."""
    warn_fallback()
    _refuse_max_pooling(pool_mode)
    features = precise(input)
    size = (aligned_height, aligned_width)
    output.copy_(
        torchvision.ops.roi_align(
            features, rois.to(features.dtype), size, spatial_scale, sampling_ratio, aligned
        )
    )


def roi_align_backward(
    grad_output: Tensor,
    rois: Tensor,
    argmax_y: Tensor,
    argmax_x: Tensor,
    grad_input: Tensor,
    aligned_height: int,
    aligned_width: int,
    spatial_scale: float,
    sampling_ratio: int,
    pool_mode: int,
    aligned: bool,
) -> None:
    """Fill ``grad_input``, shape ``(N, C, H, W)``."""
    _refuse_max_pooling(pool_mode)
    grad = precise(grad_output)
    grad_input.copy_(
        torch.ops.torchvision._roi_align_backward(
            grad,
            rois.to(grad.dtype),
            spatial_scale,
            aligned_height,
            aligned_width,
            *grad_input.shape,
            sampling_ratio,
            aligned,
        )
    )


def _refuse_max_pooling(pool_mode: int) -> None:
    if pool_mode != AVERAGE:
        refuse("roi_align with pool_mode='max'")
