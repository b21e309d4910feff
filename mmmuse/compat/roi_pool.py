"""RoIPool in plain torch.

torchvision's kernel rounds the corners of a region to whole pixels; mmcv's does not.
"""

import torch
from torch import Tensor

from mmmuse.compat.missing_ops import warn_fallback
from mmmuse.compat.precision import precise


def roi_pool_forward(
    input: Tensor,
    rois: Tensor,
    output: Tensor,
    argmax: Tensor,
    pooled_height: int,
    pooled_width: int,
    spatial_scale: float,
) -> None:
    """Fill ``output`` with the maximum of each bin of each region, and ``argmax`` with its pixel.

    A bin without a pixel has the maximum 0 and the pixel -1.

    Source: Girshick, "Fast R-CNN" (ICCV 2015), section 2.1.

    Args:
        input: Features, shape ``(N, C, H, W)``.
        rois: Index of the image and corners of each region, shape ``(K, 5)``; ``x2`` and
            ``y2`` are the last pixels inside.
        output: Filled in place, shape ``(K, C, pooled_height, pooled_width)``.
        argmax: Filled in place, of the same shape; ``y * W + x``.
        pooled_height: Bins of a region from top to bottom.
        pooled_width: Bins of a region from left to right.
        spatial_scale: Pixels of the features per unit of the corners.
    """
    warn_fallback()
    features = precise(input)
    height, width = features.shape[2:]
    images, corners = rois[:, 0].tolist(), rois[:, 1:].to(features.dtype)
    x1, y1, x2, y2 = (corners + corners.new_tensor([0, 0, 1, 1])).mul(spatial_scale).unbind(1)
    rows, columns = _bins(y1, y2, pooled_height, height), _bins(x1, x2, pooled_width, width)
    for region, image in enumerate(images):
        row, no_row = _pixels(*rows[:, region])
        column, no_column = _pixels(*columns[:, region])
        pixels = (row[:, None, :, None] * width + column[:, None]).flatten(2)
        best, place = features[int(image)].flatten(1)[:, pixels].max(-1)
        pixel = pixels.expand(*best.shape, -1).gather(-1, place[..., None])[..., 0]
        empty = no_row[:, None] | no_column
        output[region] = best.masked_fill(empty, 0)
        argmax[region] = pixel.masked_fill(empty, -1)


def _bins(start: Tensor, end: Tensor, count: int, size: int) -> Tensor:
    """Return the first pixel of each bin of a region, and the end of the bin, ``(2, K, count)``."""
    length = (end - start)[:, None] / count
    edge = torch.arange(count + 1, device=start.device) * length + start[:, None]
    first, after = edge[:, :-1].floor(), edge[:, 1:].ceil()
    after = torch.where(length > 0, after, first)
    return torch.stack([first, after]).clamp(0, size).long()


def _pixels(first: Tensor, after: Tensor) -> tuple[Tensor, Tensor]:
    """Return the pixels of each bin, the last one repeated in shorter bins, and which are empty."""
    longest = int((after - first).max().clamp(min=1))
    pixels = first[:, None] + torch.arange(longest, device=first.device)
    return pixels.minimum(after[:, None] - 1).clamp(min=0), after <= first


def roi_pool_backward(
    grad_output: Tensor,
    rois: Tensor,
    argmax: Tensor,
    grad_input: Tensor,
    pooled_height: int,
    pooled_width: int,
    spatial_scale: float,
) -> None:
    """Fill ``grad_input``, shape ``(N, C, H, W)``: each bin's gradient goes to its maximum."""
    channels, pixels = grad_input.shape[1], grad_input[0, 0].numel()
    planes = rois[:, :1].long() * channels + torch.arange(channels, device=rois.device)
    places = planes[..., None, None] * pixels + argmax
    taken = argmax >= 0
    grad = precise(grad_output)
    total = grad.new_zeros(grad_input.numel()).index_add(0, places[taken], grad[taken])
    grad_input.copy_(total.view_as(grad_input))
