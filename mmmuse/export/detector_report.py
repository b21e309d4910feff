"""What an exported detector is worth: the same boxes, mAP, cost."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from copy import deepcopy
from itertools import islice
from math import inf
from typing import Any

import torch
import torch.nn.functional as F
from mmdet.structures import DetDataSample
from mmengine.config import Config
from mmengine.evaluator import Evaluator
from mmengine.model import BaseModel
from mmengine.runner import Runner
from mmengine.structures import InstanceData
from torch import Tensor

from mmmuse.errors import InputError

PIXELS, SCORE = 0.05, 1e-3  # What two computations of one box may differ by.
Predict = Callable[[dict], list[InstanceData]]


class TestImages:
    """The test images of a config, normalised, batch by batch: ``inputs`` and ``data_samples``.

    Args:
        config: With ``test_dataloader``.
        detector: Whose preprocessor normalises.
        limit: Images after which to stop, each a batch of its own; None for all.
        shape: ``(C, H, W)`` to pad all images to; None for what the preprocessor gives.

    Raises:
        InputError: If the config has no such data, there are no images, or one is larger than
            ``shape``.
    """

    __test__ = False  # It is no test.

    def __init__(
        self,
        config: Config,
        detector: BaseModel,
        limit: int | None = None,
        shape: Sequence[int] | None = None,
    ) -> None:
        loader = deepcopy(config.get('test_dataloader'))
        if loader is None:
            raise InputError('the config has no test_dataloader')
        if limit is not None:
            loader.update(batch_size=1, num_workers=0, persistent_workers=False)
        self._loader = Runner.build_dataloader(loader)
        if not len(self._loader):
            raise InputError('there are no test images')
        self._preprocessor = detector.data_preprocessor
        self._limit = limit
        self._shape = shape

    @property
    def metainfo(self) -> dict:
        """Class names of the data set."""
        return self._loader.dataset.metainfo

    def __iter__(self) -> Iterator[dict]:
        for data in islice(self._loader, self._limit):
            batch = self._preprocessor(data, training=False)
            value = getattr(self._preprocessor, 'pad_value', 0)
            yield batch if self._shape is None else padded(batch, self._shape, value)


def common_shape(batches: Iterable[dict]) -> tuple[int, ...]:
    """Return the smallest shape ``(C, H, W)`` that images of all batches fit into."""
    return tuple(map(max, zip(*(batch['inputs'].shape[1:] for batch in batches))))


def padded(batch: dict, shape: Sequence[int], value: float) -> dict:
    """Return a batch whose images are padded to a shape, below and on the right.

    Args:
        batch: ``inputs (N, C, H, W)`` and ``data_samples``.
        shape: ``(C, H, W)``.
        value: What is put there, normalised.

    Raises:
        InputError: If an image is larger.
    """
    height, width = batch['inputs'].shape[2:]
    below, right = shape[1] - height, shape[2] - width
    if below < 0 or right < 0:
        raise InputError(
            f'images of {height}x{width} pixels do not fit into --input-shape {tuple(shape)}'
        )
    return {**batch, 'inputs': F.pad(batch['inputs'], (0, right, 0, below), value=value)}


def network_predictions(detector: BaseModel) -> Predict:
    """Return what a detector of mmdet predicts for a batch, boxes in the images' own size."""

    @torch.no_grad()
    def predict(batch: dict) -> list[InstanceData]:
        samples = [DetDataSample(metainfo=sample.metainfo) for sample in batch['data_samples']]
        return [each.pred_instances for each in detector.predict(batch['inputs'], samples)]

    return predict


def onnx_predictions(
    run: Callable[[Tensor], Sequence[Tensor]], head: Any, with_nms: bool
) -> Predict:
    """Return what an ONNX file predicts for a batch, with the head's choice of boxes behind it.

    Args:
        run: Of :func:`mmmuse.export.onnx_detector.save_onnx_detector`.
        head: The dense head that was exported.
        with_nms: Whether the file suppresses boxes.
    """

    def predict(batch: dict) -> list[InstanceData]:
        outputs = run(batch['inputs'])
        metas = [sample.metainfo for sample in batch['data_samples']]
        if not with_nms:
            return [
                head.select(boxes, scores, meta, head.test_cfg, rescale=True)
                for boxes, scores, meta in zip(*outputs, metas)
            ]
        boxes, scores, labels, images = outputs
        return [
            _ranked(boxes[images == i], scores[images == i], labels[images == i], meta, head)
            for i, meta in enumerate(metas)
        ]

    return predict


def _ranked(boxes: Tensor, scores: Tensor, labels: Tensor, meta: dict, head: Any) -> InstanceData:
    """Return the likeliest boxes in the image's own size, cut to it."""
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

    A counterpart is of the same class and lies within 0.05 pixels and 0.001 of the score.

    Args:
        found: ``bboxes (M, 4)``, ``scores (M, )``, ``labels (M, )``.
        expected: Likewise.
        cut_off: Boxes that score no more than 0.001 above it are left out: which of them are
            kept is chance.
    """
    if not len(expected):
        return 0
    clear = expected.scores > cut_off + SCORE
    near = torch.cdist(expected.bboxes[clear], found.bboxes, p=float('inf')) < PIXELS
    alike = (expected.scores[clear][:, None] - found.scores).abs() < SCORE
    same = expected.labels[clear][:, None] == found.labels
    return int((~(near & alike & same).any(1)).sum())


def refuse_other_boxes(
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
        batches: Of :class:`TestImages`.
        cfg: Of the head: boxes near its ``score_thr``, or near the lowest score where there are
            ``max_per_img``, are left out.

    Returns:
        How many boxes were compared.

    Raises:
        InputError: If one is missing or too many.
    """
    compared = 0
    for batch in batches:
        for found, wanted in zip(predict(batch), expected(batch)):
            cut_off = _cut_off(wanted, cfg or {})
            missing = count_other_boxes(found, wanted, cut_off)
            missing += count_other_boxes(wanted, found, cut_off)
            compared += len(wanted)
            if missing:
                raise InputError(
                    f'the export is not good and is not kept: {missing} boxes of {name} are not '
                    f'those of the detector, of {len(wanted)} in an image'
                )
    return compared


def _cut_off(wanted: InstanceData, cfg: dict) -> float:
    if 0 < cfg.get('max_per_img', inf) <= len(wanted):
        return wanted.scores.min().item()
    return cfg.get('score_thr', -inf)


def evaluate(
    config: Config, forms: Mapping[str, Predict], images: TestImages
) -> dict[str, dict[str, float]]:
    """Return the figures of a config's test metric for what each form predicts.

    Args:
        config: With ``test_evaluator``, the detector's own metric first if there are several.
        forms: By name.
        images: All of the test data; read once.

    Raises:
        InputError: If the config has no metric.
    """
    metric = config.get('test_evaluator')
    if not metric:
        raise InputError('the config has no test_evaluator')
    metric = metric[0] if isinstance(metric, (list, tuple)) else metric
    evaluators = {name: Evaluator(deepcopy(metric)) for name in forms}
    total = 0
    for batch in images:
        total += len(batch['data_samples'])
        for name, predict in forms.items():
            samples = [sample.clone() for sample in batch['data_samples']]
            for sample, instances in zip(samples, predict(batch)):
                sample.pred_instances = instances
            evaluators[name].dataset_meta = images.metainfo
            evaluators[name].process(samples, batch)
    return {name: evaluator.evaluate(total) for name, evaluator in evaluators.items()}
