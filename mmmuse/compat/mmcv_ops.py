"""The ops of plain detectors with torchvision's kernels, under the signatures of ``mmcv._ext``.

Python imports this file as ``mmcv._ext`` where mmcv was installed without its
compiled ops (:func:`mmmuse.compat.stand_in_for_mmcv_ops`). mmcv allocates what an
op fills in. An op that is missing here can be imported, and raises when called.
"""

import logging
from collections.abc import Callable
from functools import cache
from typing import Any, NoReturn

import torch
import torch.nn.functional as F
import torchvision
from mmengine.logging import print_log
from torch import Tensor

from mmmuse.errors import InputError

NAIVE, LINEAR, GAUSSIAN = range(3)  # methods of softnms
AVERAGE = 1  # of the pool modes of roi_align
HOW_TO_BUILD = (
    "build mmcv's compiled ops, beside torch, with pip install --no-build-isolation --no-cache-dir "
    '--force-reinstall --no-deps onedl-mmcv (FORCE_CUDA=1 where no GPU is seen)'
)


def __getattr__(name: str) -> Callable[..., NoReturn]:
    if name.startswith('_') or __name__ != 'mmcv._ext':
        raise AttributeError(f'module {__name__!r} has no attribute {name!r}')

    def missing(*args: Any, **kwargs: Any) -> NoReturn:
        raise InputError(f'{name} needs what is not installed: {HOW_TO_BUILD}')

    return missing


def get_compiler_version() -> str:
    """What ``mmcv.utils.collect_env`` reports."""
    return 'n/a'


get_compiling_cuda_version = get_compiler_version


def nms(boxes: Tensor, scores: Tensor, iou_threshold: float, offset: int) -> Tensor:
    """Return the indices of the boxes that stay, best first.

    Args:
        boxes: Corners, shape ``(N, 4)``.
        scores: Shape ``(N,)``.
        iou_threshold: A box goes if it overlaps a better one by more than this.
        offset: A box is ``x2 - x1 + offset`` wide, and as much high.
    """
    _say_so()
    boxes = _precise(boxes) + boxes.new_tensor([0, 0, offset, offset])
    return torchvision.ops.nms(boxes, scores.to(boxes.dtype), iou_threshold)


def softnms(
    boxes: Tensor,
    scores: Tensor,
    dets: Tensor,
    iou_threshold: float,
    sigma: float,
    min_score: float,
    method: int,
    offset: int,
) -> Tensor:
    """Fill the first rows of ``dets`` with boxes and lowered scores, best first; return their indices."""
    _say_so()
    corners = boxes + boxes.new_tensor([0, 0, offset, offset])
    scores, left, kept = scores.clone(), torch.arange(len(boxes)), []
    while len(left):
        best = left[scores[left].argmax()]
        dets[len(kept), :4], dets[len(kept), 4] = boxes[best], scores[best]
        kept.append(best)
        left = left[left != best]
        overlap = torchvision.ops.box_iou(corners[best, None], corners[left])[0].nan_to_num()
        scores[left] *= _softnms_weights(overlap, iou_threshold, sigma, method)
        left = left[scores[left] >= min_score]
    return torch.stack(kept) if kept else left


def _softnms_weights(overlap: Tensor, iou_threshold: float, sigma: float, method: int) -> Tensor:
    if method == GAUSSIAN:
        return torch.exp(-overlap.square() / sigma)
    lowered = 1 - overlap if method == LINEAR else torch.zeros_like(overlap)
    return torch.where(overlap >= iou_threshold, lowered, 1.0)


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
    _say_so()
    _refuse_max_pooling(pool_mode)
    features = _precise(input)
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
    grad = _precise(grad_output)
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


def sigmoid_focal_loss_forward(
    input: Tensor, target: Tensor, weight: Tensor, output: Tensor, gamma: float, alpha: float
) -> None:
    r"""Fill ``output`` with :math:`-\alpha_t (1 - p_t)^\gamma \log p_t` of each logit, shape ``(N, C)``.

    Source: Lin et al., "Focal Loss for Dense Object Detection" (ICCV 2017), equation 5.
    mmdet asks for it on a GPU only.

    Args:
        input: Logits, shape ``(N, C)``.
        target: The class of each row, shape ``(N,)``; C is background.
        weight: A weight of each class, shape ``(C,)``, or nothing.
        output: What is filled.
        gamma: :math:`\gamma`.
        alpha: :math:`\alpha_t` where the logit is of the row's class; else ``1 - alpha``.
    """
    _say_so()
    _, scale, margin = _focal_parts(input, target, weight, alpha)
    output.copy_(-scale * margin.neg().sigmoid() ** gamma * F.logsigmoid(margin))


def sigmoid_focal_loss_backward(
    input: Tensor, target: Tensor, weight: Tensor, grad_input: Tensor, gamma: float, alpha: float
) -> None:
    """Fill ``grad_input`` with the derivative of each loss by its own logit."""
    sign, scale, margin = _focal_parts(input, target, weight, alpha)
    right, wrong = margin.sigmoid(), margin.neg().sigmoid()
    slope = wrong**gamma * (wrong - gamma * right * F.logsigmoid(margin))
    grad_input.copy_(-sign * scale * slope)


def _focal_parts(
    logits: Tensor, target: Tensor, weight: Tensor, alpha: float
) -> tuple[Tensor, Tensor, Tensor]:
    """Return the sign of the right answer, the loss's factor, and the logit of the right answer."""
    logits = _precise(logits)
    positive = target[:, None] == torch.arange(logits.shape[1], device=target.device)
    sign = positive.to(logits.dtype) * 2 - 1
    scale = torch.where(positive, alpha, 1 - alpha).to(logits.dtype)
    if weight.numel():
        scale = scale * weight[target, None]
    return sign, scale, sign * logits


def _precise(tensor: Tensor) -> Tensor:
    """Not every kernel knows half precision."""
    return tensor.to(torch.promote_types(tensor.dtype, torch.float32))


def _refuse_max_pooling(pool_mode: int) -> None:
    if pool_mode != AVERAGE:
        raise InputError(
            f"roi_align with pool_mode='max' needs what is not installed: {HOW_TO_BUILD}"
        )


def _say_so() -> None:
    if not torch.compiler.is_compiling():
        _say_so_once()


@cache
def _say_so_once() -> None:
    print_log(
        "mmcv's compiled ops are not installed; mmmuse stands in for those of plain detectors "
        'with torchvision (nms, roi_align, the sigmoid focal loss)',
        logger='current',
        level=logging.WARNING,
    )
