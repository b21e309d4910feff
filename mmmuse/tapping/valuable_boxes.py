"""Which boxes of a dense head are in the valuable localisation region of an object."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from mmmuse.functional.valuable_region import adaptive_thresholds, valuable_region

from .dense_head import HeadPass

# Assigners that take an anchor for an object by its overlap. That of ATSSAssigner(alpha=...) is another figure.
WITH_THRESHOLDS = ('ATSSAssigner', 'MaxIoUAssigner')


def valuable_boxes(head: HeadPass, data_samples: Sequence, gamma: float) -> Tensor:
    """Return which boxes are near an object that the assignment does not give them, bool ``(N, P)``.

    Those that the assignment gives to an object are left out, and so are those in the padding.

    Args:
        head: One forward of the head, whose assigner is one of :data:`WITH_THRESHOLDS`.
        data_samples: N samples with ``gt_instances``, which are read.
        gamma: See :func:`mmmuse.functional.valuable_region`.
    """
    sizes = [tuple(level.shape[2:]) for level in head.scores]
    metas = [sample.metainfo for sample in data_samples]
    device = head.scores[0].device
    anchors, valid = head.module.get_anchors(sizes, metas, device=device)
    images = []
    for sample, levels, flags in zip(data_samples, anchors, valid, strict=True):
        objects = sample.gt_instances.bboxes
        objects = getattr(objects, 'tensor', objects)  # mmdet's boxes of a class of their own.
        inside = [level[flag] for level, flag in zip(levels, flags, strict=True)]
        found = torch.cat(list(flags))
        if len(objects):
            thresholds = _thresholds(head.module, inside, objects)
            found[found.clone()] = valuable_region(torch.cat(inside), objects, thresholds, gamma)
        else:
            found = torch.zeros_like(found)
        images.append(found)
    return torch.stack(images) & ~head.positives(data_samples)


def _thresholds(head: nn.Module, levels: list[Tensor], objects: Tensor) -> Tensor:
    fixed = getattr(head.assigner, 'pos_iou_thr', None)
    if fixed is not None:
        return objects.new_full((len(objects),), fixed)
    return adaptive_thresholds(levels, objects, head.assigner.topk)
