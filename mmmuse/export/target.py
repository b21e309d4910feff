"""Base class of the networks to export, and the evaluation of their forms."""

import json
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Mapping
from copy import deepcopy
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, NamedTuple

import torch
from mmengine.config import Config
from mmengine.evaluator import Evaluator
from mmengine.model import BaseModel
from torch import Tensor

from mmmuse.errors import InputError

from .data import NormalizedTestSet, training_images
from .formats import Function
from .onnx_modules import DecodedBoxes, Logits, PixelLogits

Predict = Callable[[dict], list]
NUM_CHECKED = 10  # Images that an export is verified on.
ORIGINAL = 'original'  # Name of the full network in the report.


class Form(NamedTuple):
    """One form of a network: the original, OpenMMLab's, ONNX, ...

    Attributes:
        run: Maps normalized images ``(N, C, H, W)`` to the network's outputs.
        predict: Maps a batch of the test set to a prediction for each image.
        bytes: Size of its file.
        params: Parameters; None if not counted.
        macs: Multiply-adds for one image; None if not counted.
    """

    run: Function
    predict: Predict
    bytes: int
    params: int | None = None
    macs: int | None = None


@dataclass
class ExportTarget(ABC):
    """A plain network to export, and the networks to compare it with.

    Attributes:
        config: The config of the training: data, schedule, metrics.
        model: Config of the plain network.
        network: The plain network with its weights, in eval mode.
        original: The full network, to compare cost and accuracy with.
        trained: The model that was trained; its data preprocessor normalizes the images.
        title: Name of the network in tables and in the exported config.
        reference: Maps a batch to the predictions that an export is verified against.
        metric: Config of the metric that forms are evaluated with.
        data_root: In place of the config's, if given.
    """

    config: Config
    model: dict
    network: BaseModel
    original: BaseModel
    trained: BaseModel
    title: str
    reference: Predict
    metric: dict | list | None
    data_root: str | None = None

    library: ClassVar[str]  # That reads the exported config and checkpoint.
    onnx_file: ClassVar[str]
    repeats: ClassVar[int]  # Timed calls of each form.
    field: ClassVar[str]  # Of data samples, for predictions.
    columns: ClassVar[dict[str, tuple[str, str]]]  # Of the table: a metric and its format.
    accuracy_key: ClassVar[str] = 'top1'  # Of scores(), by which int8 is judged.
    accuracy_name: ClassVar[str] = 'top-1'
    class_axis: ClassVar[int] = -1  # Of logits.
    counted: ClassVar[str] = ''  # What the share of same classes counts, before the images.
    check_key: ClassVar[str]  # Of the figure of compare() in the report.
    check_column: ClassVar[tuple[str, str]]  # Its title and format in the table.

    @abstractmethod
    def read(self, config: str, checkpoint: str) -> BaseModel:
        """Read an export as its library does."""

    @abstractmethod
    def module(self, with_nms: bool = False) -> Logits | DecodedBoxes | PixelLogits:
        """Return the module for ``torch.export`` and ONNX."""

    @abstractmethod
    def predict(self, run: Function, with_nms: bool = False) -> Predict:
        """Return the predictions of a network, or of a file that was read as a function."""

    @abstractmethod
    def batches_to_check(self, shape: tuple | None, evaluates: bool, calibration: list) -> list:
        """Return batches to verify forms on, of images of one shape ``(C, H, W)``."""

    @abstractmethod
    def compare(self, name: str, form: Form, batches: list[dict], exact: bool = True) -> float:
        """Return a figure that compares a form with the reference; InputError if they differ."""

    def calibration_images(self, shape: tuple | None) -> Iterable[tuple[Tensor, None]]:
        """Return training images ``(N, C, H, W)``, normalized, without labels.

        Args:
            shape: ``(C, H, W)`` of the images of the ONNX file, if it was given.
        """
        return training_images(self.config, self.trained, self.data_root)

    def logits_of(self, run: Function) -> Function:
        """Return the function of a form that maps images to logits, for int8."""
        return run

    def scores(self, metrics: dict | None) -> dict:
        """Return the entry of the report for the metrics of a form."""
        return dict(metrics=metrics)

    def test_set(
        self, shape: tuple[int, ...] | None = None, limit: int | None = None
    ) -> NormalizedTestSet:
        """Return the test set, padded to a shape."""
        return NormalizedTestSet(self.config, self.trained, limit, shape, self.data_root)

    def metadata(self) -> dict[str, str]:
        """Return the metadata of an ONNX file: how images are prepared, and the classes."""
        preprocessor = self.trained.data_preprocessor
        normalizes = getattr(preprocessor, '_enable_normalize', False)
        to_rgb = getattr(preprocessor, '_channel_conversion', getattr(preprocessor, 'to_rgb', 0))
        values = dict(
            mean=preprocessor.mean.flatten().tolist() if normalizes else [0.0],
            std=preprocessor.std.flatten().tolist() if normalizes else [1.0],
            to_rgb=bool(to_rgb),
            pad_value=getattr(preprocessor, 'pad_value', 0),
            classes=list((self.trained.dataset_meta or {}).get('classes', [])),
        )
        name = str(self.config.filename and Path(self.config.filename).name)
        return {**{key: json.dumps(value) for key, value in values.items()}, 'config': name}


@torch.no_grad()
def evaluate(
    metric: dict | list | None,
    forms: Mapping[str, Callable[[dict], list]],
    images: NormalizedTestSet,
    field: str = 'pred_instances',
    track: Callable[[NormalizedTestSet], Iterable[dict]] = iter,
) -> dict[str, dict[str, float]]:
    """Return the metrics of the predictions of each form.

    Args:
        metric: A config's ``test_evaluator``; of several metrics the first is used.
        forms: By name; each maps a batch to a prediction for each image.
        images: The test set; read once.
        field: Of the data samples, where the metric reads predictions.
        track: Iterates over the test set, and may show its progress.

    Raises:
        InputError: If the config has no metric.
    """
    if not metric:
        raise InputError('the config has no test_evaluator')
    metric = metric[0] if isinstance(metric, (list, tuple)) else metric
    evaluators = {name: Evaluator(deepcopy(metric)) for name in forms}
    total = 0
    for batch in track(images):
        total += len(batch['data_samples'])
        for name, predict in forms.items():
            samples = [sample.clone() for sample in batch['data_samples']]
            for sample, prediction in zip(samples, predict(batch), strict=True):
                setattr(sample, field, prediction)
            evaluators[name].dataset_meta = images.metainfo
            evaluators[name].process(samples, batch)
    return {name: evaluator.evaluate(total) for name, evaluator in evaluators.items()}
