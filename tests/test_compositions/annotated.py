"""Images with annotated objects, as mmdet's detectors are trained with them."""

import numpy as np
import torch
from mmdet.structures import DetDataSample
from mmdet.structures.mask import BitmapMasks
from mmengine.structures import InstanceData, PixelData

from .composition import Family


def annotated(family: Family) -> list[DetDataSample]:
    """Return the data samples of two images of a family, each with two objects."""
    return [_sample(family, number) for number in range(2)]


def _sample(family: Family, number: int) -> DetDataSample:
    size = height, width = family.input_shape[1:]
    sample = DetDataSample(
        metainfo=dict(
            img_id=number,
            img_shape=size,
            ori_shape=size,
            pad_shape=size,
            batch_input_shape=size,
            scale_factor=(1.0, 1.0),
            border=np.array([0, height, 0, width]),
        )
    )
    boxes = torch.tensor([[0.1, 0.1, 0.6, 0.7], [0.3, 0.2, 0.9, 0.9]])
    boxes = boxes * torch.tensor([width, height, width, height])
    sample.gt_instances = InstanceData(bboxes=boxes, labels=torch.tensor([0, 0]))
    sample.ignored_instances = InstanceData(
        bboxes=torch.zeros(0, 4), labels=torch.zeros(0, dtype=torch.long)
    )
    sample.gt_sem_seg = PixelData(sem_seg=torch.zeros(1, *size, dtype=torch.long))
    if 'masks' in family.annotations:
        masks = np.zeros((2, height, width), np.uint8)
        for mask, (left, top, right, bottom) in zip(masks, boxes.int().tolist(), strict=True):
            mask[top:bottom, left:right] = 1
        sample.gt_instances.masks = BitmapMasks(masks, *size)
    if 'pairwise_masks' in family.annotations:  # Of the 8 neighbours, at a quarter of the size.
        sample.gt_instances.pairwise_masks = torch.ones(2, 8, height // 4, width // 4)
    if 'proposals' in family.annotations:
        sample.proposals = InstanceData(bboxes=boxes.clone(), scores=torch.ones(2))
    return sample
