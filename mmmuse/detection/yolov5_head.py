from collections.abc import Sequence
from math import log
from typing import Annotated

import torch
from mmdet.models.dense_heads.base_dense_head import BaseDenseHead
from mmdet.models.utils import filter_scores_and_topk
from mmdet.registry import TASK_UTILS
from mmdet.structures.bbox import bbox_cxcywh_to_xyxy, bbox_xyxy_to_cxcywh, get_box_tensor
from mmengine.dist import get_world_size
from mmengine.structures import InstanceData
from torch import Tensor, nn
from torchvision.ops import complete_box_iou_loss

from mmmuse.arguments import NonNegativeFloat, PositiveInt, PositiveInts, Range
from mmmuse.errors import InputError
from mmmuse.functional.anchor_decoding import decode_anchor_boxes
from mmmuse.functional.anchor_matching import match_anchors
from mmmuse.registry import MODELS

from .suppression_settings import check_test_cfg

_SMALLEST = 0.01  # Pixels of a predicted side.


@MODELS.register_module()
class YOLOv5Head(BaseDenseHead):
    r"""The anchor-based head of YOLOv5.

    A 1x1 convolution per level returns four box logits, an objectness logit and C class logits
    for each anchor of each cell. With the matches of
    :func:`mmmuse.functional.match_anchors`, the losses of a batch of N images are

    .. math::
        N \sum_l \big[ w_{box} \, \overline{1 - CIoU} + w_{obj} \, \lambda_l \,
        \tfrac{H W}{640^2} \, \overline{L_{obj}} + w_{cls} \, \tfrac{C}{80} \,
        \overline{L_{cls}} \big]

    where box and class are averaged over the level's matches and objectness over all of its
    anchors. The objectness of a match is its detached CIoU, not below 0; that of
    all other anchors is 0. Losses are computed in float32.

    Args:
        num_classes: C.
        in_channels: Channels of each level.
        prior_generator: Config of mmdet's ``YOLOAnchorGenerator``: ``base_sizes`` in
            pixels and ``strides`` of each level.
        loss_cls: Config of a loss of logits with targets of their shape, e.g.
            ``dict(type='mmdet.FocalLoss', use_sigmoid=True, gamma=1.5, alpha=0.25, loss_weight=0.5)``;
            binary cross-entropy of weight 0.5 by default. The paper names focal loss; the
            public detector, which has these weights, uses cross-entropy.
        loss_obj: Likewise for objectness, of weight 1.
        bbox_weight: :math:`w_{box}`.
        level_weights: :math:`\lambda_l`.
        match_ratio: Factor up to which the sides of a box and an anchor match.
        scale_by_batch: Whether the losses are multiplied by N, the images of all processes, as
            the public schedules expect.
        train_cfg: Unused; accepted because mmdet's detectors pass it.
        test_cfg: ``score_thr``, ``nms_pre``, ``nms``, ``max_per_img``.
        init_cfg: MMEngine's.

    Raises:
        InputError: If the numbers of channels, anchors, strides and weights differ.

    Source: YOLOv5 (version 5.0), the detector of MUSE's table 4. Where several boxes
    match one anchor of one cell, its objectness is the maximum of theirs; this is assumed, and that
    a single class has a class loss like several.
    """

    def __init__(
        self,
        num_classes: PositiveInt,
        in_channels: PositiveInts,
        prior_generator: dict,
        loss_cls: dict | None = None,
        loss_obj: dict | None = None,
        bbox_weight: NonNegativeFloat = 0.05,
        level_weights: Sequence[NonNegativeFloat] = (4.0, 1.0, 0.4),
        match_ratio: Annotated[float, Range(above=1)] = 4.0,
        scale_by_batch: bool = True,
        train_cfg: dict | None = None,
        test_cfg: dict | None = None,
        init_cfg: dict | None = None,
    ) -> None:
        super().__init__(init_cfg=init_cfg)
        check_test_cfg(test_cfg)
        self.num_classes, self.in_channels = num_classes, tuple(in_channels)
        anchors = prior_generator.get('base_sizes', ())
        parts = dict(
            in_channels=in_channels,
            base_sizes=anchors,
            strides=prior_generator.get('strides', ()),
            level_weights=level_weights,
        )
        if len({len(part) for part in parts.values()}) != 1 or len(set(map(len, anchors))) != 1:
            levels = ', '.join(f'{len(part)} {name}' for name, part in parts.items())
            raise InputError(
                f'YOLOv5Head needs one of each of these per level, got {levels}; and the same number of '
                f'anchors on each level, got {list(map(len, anchors))}'
            )
        self.prior_generator = TASK_UTILS.build(prior_generator)
        self.strides = [stride[0] for stride in self.prior_generator.strides]
        self.level_weights = tuple(level_weights)
        cross_entropy = dict(type='mmdet.CrossEntropyLoss', use_sigmoid=True)
        self.loss_cls = MODELS.build(loss_cls or {**cross_entropy, 'loss_weight': 0.5})
        self.loss_obj = MODELS.build(loss_obj or {**cross_entropy, 'loss_weight': 1.0})
        self.bbox_weight, self.match_ratio = bbox_weight, match_ratio
        self.scale_by_batch = scale_by_batch
        self.train_cfg, self.test_cfg = train_cfg, test_cfg
        self.num_anchors = len(anchors[0])
        self.register_buffer(
            'anchors', torch.tensor(self.prior_generator.base_sizes).float(), persistent=False
        )
        self.convs = nn.ModuleList(
            nn.Conv2d(channels, self.num_anchors * (5 + num_classes), 1) for channels in in_channels
        )

    def _apply(self, *args, **kwargs) -> 'YOLOv5Head':
        # In bfloat16 a side of 373 pixels would become 372.
        super()._apply(*args, **kwargs)
        sizes = self.prior_generator.base_sizes
        self.anchors = torch.tensor(sizes).float().to(self.anchors.device)
        return self

    def init_weights(self) -> None:
        """Initialise, with biases for the prior of objectness and classes.

        The prior is 8 objects in an image of 640x640, and 0.6 classes of an anchor.
        """
        super().init_weights()
        for conv, stride in zip(self.convs, self.strides, strict=True):
            bias = conv.bias.data.view(self.num_anchors, -1)
            bias[:, 4] = log(8 / (640 / stride) ** 2)
            bias[:, 5:] = log(0.6 / (self.num_classes - 0.99))

    def forward(self, x: Sequence[Tensor]) -> tuple[list[Tensor]]:
        """Map each level ``(N, C_l, H_l, W_l)`` to logits ``(N, A, H_l, W_l, 5 + C)``."""
        if len(x) != len(self.convs):
            raise InputError(f'YOLOv5Head has {len(self.convs)} levels and got {len(x)} maps')
        return (
            [
                conv(level).unflatten(1, (self.num_anchors, -1)).permute(0, 1, 3, 4, 2)
                for conv, level in zip(self.convs, x, strict=True)
            ],
        )

    def loss_by_feat(
        self,
        logits: Sequence[Tensor],
        batch_gt_instances: Sequence[InstanceData],
        batch_img_metas: Sequence[dict],
        batch_gt_instances_ignore: Sequence[InstanceData] | None = None,
    ) -> dict[str, Tensor]:
        """Return ``loss_bbox``, ``loss_obj`` and ``loss_cls``.

        Args:
            logits: Of each level, ``(N, A, H, W, 5 + C)``.
            batch_gt_instances: N times ``bboxes``, corners in pixels ``(M, 4)``, and
                ``labels`` ``(M, )``. Boxes without an area are ignored.
            batch_img_metas: Not read.
            batch_gt_instances_ignore: Not read: crowds are neither objects nor exempt
                from the background.
        """
        device = logits[0].device
        boxes = [get_box_tensor(instances.bboxes) for instances in batch_gt_instances]
        image = torch.repeat_interleave(
            torch.arange(len(boxes), device=device),
            torch.tensor([len(of_image) for of_image in boxes], device=device),
        )
        boxes = bbox_xyxy_to_cxcywh(torch.cat(boxes).to(device, torch.float32))
        labels = torch.cat([instances.labels for instances in batch_gt_instances]).to(device)
        terms = [
            self._loss_of_level(level, of_level.float(), image, boxes, labels)
            for level, of_level in enumerate(logits)
        ]
        factor = len(batch_gt_instances) * get_world_size() if self.scale_by_batch else 1
        names = ('loss_bbox', 'loss_obj', 'loss_cls')
        return {
            name: sum(of_levels) * factor
            for name, of_levels in zip(names, zip(*terms, strict=True), strict=True)
        }

    def _loss_of_level(
        self, level: int, logits: Tensor, image: Tensor, boxes: Tensor, labels: Tensor
    ) -> tuple[Tensor, Tensor, Tensor]:
        stride, anchors = self.strides[level], self.anchors[level]
        height, width = logits.shape[2:4]
        box, anchor, row, column = match_anchors(
            boxes[:, :2] / stride, boxes[:, 2:], anchors, (height, width), self.match_ratio
        )
        matched = logits[image[box], anchor, row, column]
        predicted = decode_anchor_boxes(
            matched[:, :4], torch.stack([column, row], 1), anchors[anchor], stride
        )
        # Corners in float32 would make a smaller side 0, whose angle in the CIoU is NaN.
        sides = (
            predicted[:, 2:] + (predicted[:, 2:].clamp(min=_SMALLEST) - predicted[:, 2:]).detach()
        )
        sized = torch.cat([predicted[:, :2], sides], 1)
        distance = complete_box_iou_loss(
            bbox_cxcywh_to_xyxy(sized), bbox_cxcywh_to_xyxy(boxes[box])
        )
        objectness = logits[..., 4]
        cell = ((image[box] * self.num_anchors + anchor) * height + row) * width + column
        target = torch.zeros_like(objectness).flatten()
        target.scatter_reduce_(0, cell, (1 - distance.detach()).clamp(min=0), 'amax')
        classes = torch.zeros_like(matched[:, 5:])
        classes[torch.arange(len(box), device=box.device), labels[box]] = 1
        # Without matches the mean is NaN; the sum is 0.
        loss_bbox = distance.mean() if len(box) else distance.sum()
        loss_cls = self.loss_cls(matched[:, 5:], classes) if len(box) else matched[:, 5:].sum()
        area = height * width * stride**2 / 640**2
        loss_obj = self.loss_obj(objectness.reshape(-1, 1), target[:, None])
        return (
            self.bbox_weight * loss_bbox,
            self.level_weights[level] * area * loss_obj,
            self.num_classes / 80 * loss_cls,
        )

    def decode(self, logits: Sequence[Tensor]) -> tuple[Tensor, Tensor]:
        """Return the boxes and scores of all anchors of all levels.

        Args:
            logits: Of each level, ``(N, A, H, W, 5 + C)``.

        Returns:
            Corners in pixels ``(N, P, 4)``, and scores ``(N, P, C)``: objectness times
            the probability of a class.
        """
        boxes = []
        for level, of_level in enumerate(logits):
            height, width = of_level.shape[2:4]
            rows, columns = torch.meshgrid(
                torch.arange(height, device=of_level.device),
                torch.arange(width, device=of_level.device),
                indexing='ij',
            )
            decoded = decode_anchor_boxes(
                of_level[..., :4],
                torch.stack([columns, rows], -1),
                self.anchors[level][:, None, None],
                self.strides[level],
            )
            boxes.append(bbox_cxcywh_to_xyxy(decoded.flatten(1, 3)))
        scores = torch.cat([of_level[..., 4:].flatten(1, 3) for of_level in logits], 1)
        scores = scores.float().sigmoid()
        return torch.cat(boxes, 1), scores[..., :1] * scores[..., 1:]

    def predict_by_feat(
        self,
        logits: Sequence[Tensor],
        batch_img_metas: Sequence[dict],
        cfg: dict | None = None,
        rescale: bool = False,
        with_nms: bool = True,
    ) -> list[InstanceData]:
        """Return ``bboxes``, ``scores`` and ``labels`` of each image.

        Args:
            logits: Of each level, ``(N, A, H, W, 5 + C)``.
            batch_img_metas: Of N images.
            cfg: In place of ``test_cfg``; for this and other arguments see :meth:`select`.
        """
        cfg = self.test_cfg if cfg is None else cfg
        return [
            self.select(boxes, scores, meta, cfg, rescale, with_nms)
            for boxes, scores, meta in zip(*self.decode(logits), batch_img_metas, strict=True)
        ]

    def select(
        self,
        boxes: Tensor,
        scores: Tensor,
        img_meta: dict,
        cfg: dict,
        rescale: bool = False,
        with_nms: bool = True,
    ) -> InstanceData:
        """Select an image's predictions from the boxes of all anchors.

        An anchor may predict several classes; suppression is within a class. Boxes are clipped
        to the image afterwards.

        Args:
            boxes: Corners in pixels, ``(P, 4)``.
            scores: ``(P, C)``.
            img_meta: ``img_shape``, and to rescale ``scale_factor`` and ``ori_shape``.
            cfg: ``score_thr``, ``nms_pre``, ``nms``, ``max_per_img``.
            rescale: Whether to return boxes in pixels of the original image.
            with_nms: Whether to suppress boxes.
        """
        scores, labels, _, kept = filter_scores_and_topk(
            scores, cfg.get('score_thr', 0.0), cfg.get('nms_pre', 30000), dict(bboxes=boxes)
        )
        results = InstanceData(bboxes=kept['bboxes'], scores=scores, labels=labels)
        results = self._bbox_post_process(results, cfg, rescale, with_nms, img_meta)
        height, width = img_meta['ori_shape' if rescale else 'img_shape'][:2]
        limits = boxes.new_tensor([width, height, width, height])
        results.bboxes = results.bboxes.clamp(min=0).minimum(limits)
        return results
