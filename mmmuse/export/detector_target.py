"""A detector to export, plain or an exit of a distilled one, and the comparison of boxes."""

from collections.abc import Iterable
from math import inf
from typing import Any

import torch
from mmdet.apis import init_detector
from mmdet.structures import DetDataSample
from mmengine.config import Config
from mmengine.model import BaseModel
from mmengine.structures import InstanceData
from torch import Tensor

from mmmuse.distillers import SelfDistiller
from mmmuse.errors import InputError

from .data import common_shape
from .exit_network import exit_network, exit_network_config, num_exits
from .onnx_modules import DecodedBoxes
from .target import NUM_CHECKED, ExportTarget, Form, Function, Predict
from .trained import detector_config, load_trained_detector

PIXELS, SCORE = 0.05, 1e-3  # Largest difference between two computations of one box.


def network_predictions(detector: BaseModel) -> Predict:
    """Return what a detector of mmdet predicts for a batch, boxes in the original images' pixels."""

    @torch.no_grad()
    def predict(batch: dict) -> list[InstanceData]:
        samples = [_without_objects(sample) for sample in batch['data_samples']]
        found = detector.predict(batch['inputs'], samples)
        if not all('pred_instances' in each for each in found):
            raise InputError(
                f'an export is verified by the boxes of a detector, and {type(detector).__name__} predicts none'
            )
        return [each.pred_instances for each in found]

    return predict


def _without_objects(sample: DetDataSample) -> DetDataSample:
    """Return a new data sample with the metadata of another one, and the proposals that a Fast R-CNN reads."""
    new = DetDataSample(metainfo=sample.metainfo)
    if 'proposals' in sample:
        new.proposals = sample.proposals
    return new


def onnx_predictions(run: Function, head: Any, with_nms: bool) -> Predict:
    """Return what an ONNX file predicts for a batch, boxes selected as the head does.

    Args:
        run: Of :func:`mmmuse.export.formats.save_onnx`; maps images to ``boxes (N, P, 4)`` and
            ``scores (N, P, K)``, or with suppression to the outputs of
            :func:`mmmuse.export.onnx_modules.add_suppression`.
        head: The dense head that was exported.
        with_nms: Whether the file suppresses boxes.
    """

    def predict(batch: dict) -> list[InstanceData]:
        outputs = run(batch['inputs'])
        metas = [sample.metainfo for sample in batch['data_samples']]
        if not with_nms:
            return [
                head.select(boxes, scores, meta, head.test_cfg, rescale=True)
                for boxes, scores, meta in zip(*outputs, metas, strict=True)
            ]
        boxes, scores, labels, images = outputs
        return [
            _ranked(boxes[images == i], scores[images == i], labels[images == i], meta, head)
            for i, meta in enumerate(metas)
        ]

    return predict


def _ranked(boxes: Tensor, scores: Tensor, labels: Tensor, meta: dict, head: Any) -> InstanceData:
    """Return the boxes of highest score in the original image's pixels, clipped to the image."""
    best = scores.argsort(descending=True)[: head.test_cfg.max_per_img]
    height, width = meta['ori_shape'][:2]
    limits = boxes.new_tensor([width, height, width, height])
    scale = boxes.new_tensor(meta['scale_factor']).repeat(2)
    return InstanceData(
        bboxes=(boxes[best] / scale).clamp(min=0).minimum(limits),
        scores=scores[best],
        labels=labels[best],
    )


def count_other_boxes(found: InstanceData, expected: InstanceData, cut_off: float = -inf) -> int:
    """Return how many expected boxes have no counterpart among those found.

    A counterpart has the same class, corners within 0.05 pixels and a score within 0.001.

    Args:
        found: ``bboxes (M, 4)``, ``scores (M, )``, ``labels (M, )``.
        expected: Likewise.
        cut_off: Expected boxes that score no more than 0.001 above it are ignored: a rounding
            error decides which of them are kept.
    """
    if not len(expected):
        return 0
    clear = expected.scores > cut_off + SCORE
    near = torch.cdist(expected.bboxes[clear], found.bboxes, p=float('inf')) < PIXELS
    alike = (expected.scores[clear][:, None] - found.scores).abs() < SCORE
    same = expected.labels[clear][:, None] == found.labels
    return int((~(near & alike & same).any(1)).sum())


def check_boxes_match(
    name: str,
    predict: Predict,
    expected: Predict,
    batches: Iterable[dict],
    cfg: dict | None = None,
) -> int:
    """Compare the boxes of an exported form with those of the detector, image by image.

    Args:
        name: Of the form.
        predict: The form.
        expected: The detector.
        batches: Of :class:`NormalizedTestSet`.
        cfg: Of the head: boxes near its ``score_thr``, or near the lowest score where there are
            ``max_per_img``, are ignored.

    Returns:
        How many boxes were compared.

    Raises:
        InputError: If the boxes of an image differ.
    """
    compared = 0
    for batch in batches:
        for found, wanted in zip(predict(batch), expected(batch), strict=True):
            cut_off = _cut_off(wanted, cfg or {})
            differ = count_other_boxes(found, wanted, cut_off)
            differ += count_other_boxes(wanted, found, cut_off)
            compared += len(wanted)
            if differ:
                raise InputError(
                    f'verification failed; the export was discarded: {differ} boxes differ between '
                    f'{name} and the detector, which finds {len(wanted)} in this image'
                )
    return compared


def _cut_off(wanted: InstanceData, cfg: dict) -> float:
    if 0 < cfg.get('max_per_img', inf) <= len(wanted):
        return wanted.scores.min().item()
    return cfg.get('score_thr', -inf)


class DetectorTarget(ExportTarget):
    """A detector; predictions are boxes, labels and scores of each image."""

    library = 'mmdet'
    onnx_file = 'detector.onnx'
    repeats = 10
    field = 'pred_instances'
    columns = {'mAP': ('coco/bbox_mAP', '.3f'), 'mAP@0.5': ('coco/bbox_mAP_50', '.3f')}
    check_key, check_column = 'boxes_compared', ('same boxes', '.0f')

    def read(self, config: str, checkpoint: str) -> BaseModel:
        return init_detector(config, checkpoint, device='cpu')

    def module(self, with_nms: bool = False) -> DecodedBoxes:
        return DecodedBoxes(self.network, with_nms)

    def predict(self, run: Function, with_nms: bool = False) -> Predict:
        if isinstance(run, BaseModel):
            return network_predictions(run)
        return onnx_predictions(run, self.network.bbox_head, with_nms)

    def batches_to_check(self, shape: tuple | None, evaluates: bool, calibration: list) -> list:
        if shape is None:  # An ONNX file has one shape, which all images must fit into.
            limit = None if evaluates else NUM_CHECKED
            shape = common_shape(self.test_set(limit=limit))
        return list(self.test_set(shape, NUM_CHECKED))

    def compare(self, name: str, form: Form, batches: list[dict], exact: bool = True) -> int:
        head = getattr(self.network, 'bbox_head', None)  # A detector of masks has None.
        cfg = (head or self.network).test_cfg or {}
        cfg = cfg.get('rcnn', cfg)  # Two-stage detectors have one for each stage.
        return check_boxes_match(name, form.predict, self.reference, batches, cfg)


def detector_target(
    config: Config, checkpoint: str, number: int | None = None, trust: bool = False
) -> DetectorTarget:
    """Return a detector, or an exit of it; see :func:`load_trained_detector`.

    Raises:
        InputError: If the exit does not exist, or the checkpoint is of another network.
    """
    trained = load_trained_detector(config, checkpoint, trust)
    model, network, original = detector_config(config), trained, trained
    title = 'The detector' if number is None else f'Exit {number}'
    if isinstance(trained, SelfDistiller):
        number = num_exits(trained) if number is None else number
        network, original = exit_network(model, trained, number), trained.student
        model = exit_network_config(model, trained, number)
    elif number is not None:
        raise InputError(f'the config has no exits: its model is {config.model.type}')
    metric = config.get('test_evaluator')
    predict = network_predictions(network)
    return DetectorTarget(config, model, network, original, trained, title, predict, metric)
