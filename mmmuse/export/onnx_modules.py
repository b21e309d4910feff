"""The modules for ``torch.export`` and ONNX: logits of a classifier, boxes of a detector, masks."""

from typing import Any

import torch
from mmengine.model import BaseModel
from torch import Tensor, nn

from mmmuse.errors import InputError

_SUPPRESSION = """
suppression (float[N, P, 4] all_boxes, float[N, P, K] all_scores)
    => (float[M, 4] boxes, float[M] scores, int64[M] labels, int64[M] images_of_boxes)
    <int64[1] max_per_class = {{{max_per_class}}}, float[1] iou_threshold = {{{iou_threshold}}},
     float[1] score_threshold = {{{score_threshold}}}, int64[1] last_axis = {{1}}>
{{
    class_scores = Transpose <perm = [0, 2, 1]> (all_scores)
    chosen = NonMaxSuppression (all_boxes, class_scores, max_per_class, iou_threshold, score_threshold)
    image_column, label_column, anchor_column = Split <axis = 1, num_outputs = 3> (chosen)
    places = Concat <axis = 1> (image_column, anchor_column)
    boxes = GatherND (all_boxes, places)
    scores = GatherND (class_scores, chosen)
    labels = Squeeze (label_column, last_axis)
    images_of_boxes = Squeeze (image_column, last_axis)
}}
"""


class Logits(nn.Module):
    """A classifier for export: normalized images to logits.

    Args:
        network: The classifier.
    """

    outputs = ('logits',)
    nms = None

    def __init__(self, network: BaseModel) -> None:
        super().__init__()
        self.network = network

    def forward(self, images: Tensor) -> Tensor:
        """Map ``(N, C, H, W)`` to ``(N, K)``."""
        return self.network(images, mode='tensor')


class PixelLogits(nn.Module):
    """A segmenter for export: normalized images to the logits or the classes of their pixels.

    Args:
        network: The segmenter.
        with_argmax: Whether to return classes. One logit for two classes has a threshold instead.
    """

    nms = None

    def __init__(self, network: BaseModel, with_argmax: bool = False) -> None:
        super().__init__()
        self.network = network
        self.with_argmax = with_argmax
        self.outputs = ('masks',) if with_argmax else ('logits',)

    def forward(self, images: Tensor) -> Tensor:
        """Map ``(N, C, H, W)`` to logits ``(N, K, H, W)`` or to classes ``(N, H, W)``."""
        size = tuple(images.shape[2:])
        # A size of this type is read first, as for the windows of an image.
        metas = [dict(img_shape=torch.Size(size), ori_shape=size)]
        logits = self.network.encode_decode(images, metas)
        return masks_of(self.network, logits) if self.with_argmax else logits


def masks_of(segmenter: BaseModel, logits: Tensor) -> Tensor:
    """Return the classes ``(N, H, W)`` that a segmenter predicts with logits ``(N, K, H, W)``."""
    if logits.shape[1] == 1:
        return (logits[:, 0].sigmoid() > segmenter.decode_head.threshold).long()
    return logits.argmax(1)


class DecodedBoxes(nn.Module):
    """A detector for export: normalized images to boxes and scores of all anchors.

    Args:
        detector: Its head has the method ``decode``, as :class:`mmmuse.detection.YOLOv5Head` has.
        with_nms: Whether the ONNX file will suppress boxes.

    Raises:
        InputError: If the head has no ``decode``, or ONNX has no operator for its suppression.
    """

    outputs = ('boxes', 'scores')

    def __init__(self, detector: BaseModel, with_nms: bool = False) -> None:
        super().__init__()
        head = getattr(detector, 'bbox_head', None)
        if not hasattr(head, 'decode'):
            raise InputError(
                f'ONNX needs a head with a method decode, such as mmmuse.YOLOv5Head; '
                f'{type(head or detector).__name__} has none: omit --onnx'
            )
        self.network = detector
        self.nms = head.test_cfg if with_nms else None
        if with_nms:
            _check_suppression(head.test_cfg['nms'])

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Map ``(N, C, H, W)`` to corners ``(N, P, 4)`` and scores ``(N, P, K)``."""
        (logits,) = self.network(images, mode='tensor')
        return self.network.bbox_head.decode(logits)


def _check_suppression(nms: dict) -> None:
    if nms.get('type', 'nms') != 'nms' or set(nms) - {'type', 'iou_threshold', 'class_agnostic'}:
        raise InputError(f'--nms supports plain NMS only, not {dict(nms)}')
    if nms.get('class_agnostic'):
        raise InputError('--nms suppresses within each class; class_agnostic is not supported')


def add_suppression(model: Any, cfg: dict) -> None:
    """Append non-maximum suppression to an ONNX model of :class:`DecodedBoxes`, in place.

    Its outputs become ``boxes (M, 4)``, ``scores (M, )``, ``labels (M, )`` and
    ``images_of_boxes (M, )``, the index in the batch of each box's image.

    Args:
        model: With outputs ``boxes`` and ``scores``.
        cfg: ``test_cfg`` of the head; ``max_per_img`` limits the boxes of each class.
    """
    from onnx import parser

    nodes = parser.parse_graph(
        _SUPPRESSION.format(
            max_per_class=cfg.get('max_per_img', 300),
            iou_threshold=float(cfg['nms']['iou_threshold']),
            score_threshold=float(cfg.get('score_thr', 0)),
        )
    )
    graph = model.graph
    for node in graph.node:
        for names in (node.input, node.output):
            for i, name in enumerate(names):
                if name in DecodedBoxes.outputs:
                    names[i] = f'all_{name}'
    graph.node.extend(nodes.node)
    graph.initializer.extend(nodes.initializer)
    graph.output.clear()
    graph.output.extend(nodes.output)
