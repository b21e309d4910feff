"""Non-maximum suppression: greedy, soft, and with the boxes that each choice suppresses."""

import torch
import torchvision
from torch import Tensor

from mmmuse.compat.missing_ops import warn_fallback
from mmmuse.compat.precision import precise

NAIVE, LINEAR, GAUSSIAN = range(3)  # methods of softnms


def nms(boxes: Tensor, scores: Tensor, iou_threshold: float, offset: int) -> Tensor:
    """Return the indices of the boxes kept, best first.

    Args:
        boxes: Corners, shape ``(N, 4)``.
        scores: Shape ``(N,)``.
        iou_threshold: A box is suppressed if its overlap with a better one is larger.
        offset: The width of a box is ``x2 - x1 + offset``; likewise its height.
    """
    warn_fallback()
    boxes = precise(boxes) + boxes.new_tensor([0, 0, offset, offset])
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
    warn_fallback()
    corners = precise(boxes) + boxes.new_tensor([0, 0, offset, offset])
    scores, left, kept = precise(scores).clone(), torch.arange(len(boxes)), []
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


def nms_match(dets: Tensor, iou_threshold: float) -> list[list[int]]:
    """Return the index of each box kept and those of the boxes it suppresses, best first.

    Args:
        dets: Corners and scores, shape ``(N, 5)``.
        iou_threshold: A box is suppressed if its overlap with a better one is this or larger.
    """
    warn_fallback()
    boxes, scores = precise(dets).split([4, 1], dim=1)
    left, matched = scores[:, 0].argsort(descending=True, stable=True), []
    while len(left):
        suppressed = torchvision.ops.box_iou(boxes[left[:1]], boxes[left])[0] >= iou_threshold
        suppressed[0] = True
        matched.append(left[suppressed].tolist())
        left = left[~suppressed]
    return matched
