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
    **sampling: float,
) -> None:
    """Fill ``output``, shape ``(K, C, aligned_height, aligned_width)``, from ``rois`` ``(K, 5)``."""
    warn_fallback()
    (scale, *size), points = _sampling(**sampling)
    features = precise(input)
    output.copy_(torchvision.ops.roi_align(features, rois.to(features.dtype), size, scale, *points))


def roi_align_backward(
    grad_output: Tensor,
    rois: Tensor,
    argmax_y: Tensor,
    argmax_x: Tensor,
    grad_input: Tensor,
    **sampling: float,
) -> None:
    """Fill ``grad_input``, shape ``(N, C, H, W)``."""
    size, points = _sampling(**sampling)
    grad = precise(grad_output)
    grad_input.copy_(
        torch.ops.torchvision._roi_align_backward(
            grad, rois.to(grad.dtype), *size, *grad_input.shape, *points
        )
    )


def _sampling(
    *,
    aligned_height: int,
    aligned_width: int,
    spatial_scale: float,
    sampling_ratio: int,
    pool_mode: int,
    aligned: bool,
) -> tuple[tuple, tuple]:
    """Return scale and output size, then the points of a bin, in the order of torchvision's kernels."""
    if pool_mode != AVERAGE:
        refuse("roi_align with pool_mode='max'")
    return (spatial_scale, aligned_height, aligned_width), (sampling_ratio, aligned)
