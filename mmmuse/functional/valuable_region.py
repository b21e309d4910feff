"""The valuable localisation region of localisation distillation."""

from collections.abc import Sequence

import torch
from torch import Tensor

from mmmuse.errors import InputError

from .precision import at_least_float32


def valuable_region(
    anchors: Tensor, objects: Tensor, thresholds: Tensor, gamma: float = 0.25
) -> Tensor:
    r"""Return which anchors are in the valuable localisation region of an image.

    .. math::
        V = \{ i : \exists j,\; \gamma\, \alpha_j \le \mathrm{DIoU}(a_i, b_j) \le \alpha_j \}

    with the threshold :math:`\alpha_j` above which the label assignment takes an anchor for object j. DIoU
    is the overlap minus the squared distance of the centres over that of the corners of the enclosing box.

    Args:
        anchors: Corners of :math:`a_i`, ``(P, 4)``.
        objects: Corners of :math:`b_j`, ``(G, 4)``.
        thresholds: :math:`\alpha_j`, ``(G, )``.
        gamma: 0 to 1; the smaller, the larger the region. 0.25 in the paper.

    Returns:
        bool ``(P, )``; none without objects.

    Raises:
        InputError: If the shapes do not fit together, or gamma is not in 0 to 1.

    Source: "Localization Distillation for Dense Object Detection" (Zheng et al., CVPR 2022), algorithm 1. That
    thresholds may differ from object to object, as those of ATSS do, is assumed.

    Example:
        >>> anchors = torch.tensor([[0.0, 0, 4, 4], [2, 0, 6, 4], [9, 9, 10, 10]])
        >>> valuable_region(anchors, anchors[:1], torch.tensor([0.5]))
        tensor([False,  True, False])
    """
    _check_boxes('valuable_region', anchors, objects)
    if thresholds.shape != objects.shape[:1]:
        raise InputError(
            f'valuable_region needs a threshold for each of {len(objects)} objects, got '
            f'{tuple(thresholds.shape)}'
        )
    if not 0 <= gamma <= 1:
        raise InputError(f'valuable_region needs gamma from 0 to 1, got {gamma}')
    anchors, objects, thresholds = map(at_least_float32, (anchors, objects, thresholds))
    from torchvision.ops import distance_box_iou  # The other formulas need torch alone.

    overlaps = distance_box_iou(anchors, objects)
    return ((overlaps >= gamma * thresholds) & (overlaps <= thresholds)).any(1)


def adaptive_thresholds(levels: Sequence[Tensor], objects: Tensor, topk: int = 9) -> Tensor:
    r"""Return the overlap above which ATSS takes an anchor for each object.

    .. math::
        \alpha_j = \mathrm{mean}(O_j) + \mathrm{std}(O_j)

    :math:`O_j` are the overlaps (IoU) of object j with the anchors whose centres are the closest ones to
    its own, k of each level.

    Args:
        levels: Corners of the anchors of each level, ``(P_l, 4)``.
        objects: Corners of the objects, ``(G, 4)``.
        topk: k.

    Returns:
        ``(G, )``; the standard deviation is that of a sample.

    Raises:
        InputError: If these are not boxes.

    Source: "Bridging the Gap Between Anchor-based and Anchor-free Detection via Adaptive Training Sample
    Selection" (Zhang et al., CVPR 2020), algorithm 1.

    Example:
        >>> anchors = torch.tensor([[0.0, 0, 4, 4], [0, 0, 4, 8], [90, 90, 94, 94]])
        >>> adaptive_thresholds([anchors], anchors[:1], topk=2)
        tensor([1.1036])
    """
    from torchvision.ops import box_iou

    candidates = []
    for level in levels:
        _check_boxes('adaptive_thresholds', level, objects)
        level, boxes = at_least_float32(level), at_least_float32(objects)
        # Not by a product of matrices, which is off by 0.2 pixels at coordinates of 1,000.
        distances = torch.cdist(
            _centres(level), _centres(boxes), compute_mode='donot_use_mm_for_euclid_dist'
        )
        nearest = distances.topk(min(topk, len(level)), 0, largest=False).indices
        candidates.append(box_iou(level, boxes).gather(0, nearest))
    overlaps = torch.cat(candidates)
    return overlaps.mean(0) + overlaps.std(0)


def _centres(boxes: Tensor) -> Tensor:
    return (boxes[:, :2] + boxes[:, 2:]) / 2


def _check_boxes(name: str, anchors: Tensor, objects: Tensor) -> None:
    for boxes in (anchors, objects):
        if boxes.ndim != 2 or boxes.shape[1] != 4:
            raise InputError(f'{name} needs boxes (P, 4), got {tuple(boxes.shape)}')
