"""Early exit of a segmenter, measured on the test set."""

import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from copy import deepcopy
from functools import partial
from itertools import islice
from typing import Any

import numpy as np
import torch
from mmengine.config import Config
from torch import Tensor, nn

from mmmuse.errors import InputError
from mmmuse.export.data import NormalizedTestSet
from mmmuse.export.target import evaluate
from mmmuse.export.trained import dense_config, load_trained_segmenter
from mmmuse.registry import MODELS
from mmmuse.segmentation import SegmentationSelfDistiller
from mmmuse.segmentation.early_exit_segmenter import confidence
from mmmuse.segmentation.exit_inference import predict_with_exits, with_attributes

from .early_exit import EarlyExitPoint, taken_exits

_FIELD = 'pred_sem_seg'


class SegmenterExits:
    """The exits of a segmenter: their confidence in each image, their mIoU and their time.

    Thresholds are for images, or for the windows that the config cuts them into
    (``test_cfg.mode='slide'``), each of which takes its exit. As the mIoU of some images does not follow from
    figures of each, every choice of thresholds is run.

    Args:
        config: Of the distilled segmenter.
        checkpoint: Of its training.
        data_root: In place of the config's, if given.
        trust: Load a file that holds more than weights.

    Raises:
        InputError: See :func:`mmmuse.export.trained.load_trained_segmenter`; also if the config has no exits.
    """

    accuracy = ('mIoU', 'mIoU')
    kind = 'mmmuse.EarlyExitSegmenter'

    def __init__(
        self, config: Config, checkpoint: str, data_root: str | None = None, trust: bool = False
    ) -> None:
        self.config = config
        self.model = dense_config(config, 'mmseg')
        self.distiller = load_trained_segmenter(config, checkpoint, trust)
        if not isinstance(self.distiller, SegmentationSelfDistiller):
            raise InputError(
                f'the config has no exits: its model is {config.model.type}, not '
                'mmmuse.SegmentationSelfDistiller'
            )
        # Images may differ in size, and come one by one.
        self._test_set = NormalizedTestSet(config, self.distiller, sys.maxsize, None, data_root)

    @property
    def counted(self) -> str:
        """What takes an exit."""
        return 'windows' if self._window is not None else 'images'

    @property
    def _window(self) -> tuple[int, int] | None:
        cfg = self.distiller.student.test_cfg
        return tuple(cfg.crop_size) if cfg.get('mode') == 'slide' else None

    def image_shape(self) -> tuple[int, int, int]:
        """Return the shape of the first test image, or of a window of it, ``(C, H, W)``."""
        channels, *size = next(iter(self._test_set))['inputs'].shape[1:]
        return (channels, *map(min, size, self._window or size))

    def run(self, track: Callable[[Iterable], Iterable] = iter) -> None:
        """Run every exit on the images that thresholds are chosen on, every other one.

        Raises:
            InputError: If there are fewer than two images.
        """
        if len(self._test_set) < 2:
            raise InputError('early exit needs at least 2 images: half choose the thresholds')
        masks = _Masks(self.distiller)
        for batch in track(_EveryOther(self._test_set, 0)):
            masks.of(batch)
        self.confidence = np.array(masks.confidence)

    @property
    def num_images(self) -> int:
        """Number of the images that are measured."""
        return len(_EveryOther(self._test_set, 1))

    def measure(
        self,
        costs: np.ndarray,
        thresholds: Sequence[Sequence[float | None]],
        track: Callable[[Iterable], Iterable] = iter,
    ) -> tuple[list[float], list[EarlyExitPoint]]:
        """Return the mIoU of each exit as a network of its own, and that of choices of thresholds.

        Args:
            costs: Of each exit; see :func:`mmmuse.analysis.early_exit.cumulative_costs`.
            thresholds: The choices.
            track: Shows the progress over the images.

        Raises:
            InputError: If the first metric of the config reports no ``mIoU``.
        """
        masks, early = _Masks(self.distiller), self._early_exit_segmenter()
        fields = [f'exit{number}_sem_seg' for number in self.distiller.exit_modules]
        forms = {field: partial(masks.of, field=field) for field in (*fields, _FIELD)}
        forms |= {i: partial(_predict, early, each) for i, each in enumerate(thresholds)}
        images = _EveryOther(self._test_set, 1)
        figures = evaluate(self.config.get('test_evaluator'), forms, images, _FIELD, track)
        if any('mIoU' not in each for each in figures.values()):
            raise InputError('the first metric of test_evaluator reports no mIoU: IoUMetric does')
        found = {name: float(each['mIoU']) for name, each in figures.items()}
        points = []
        for i, each in enumerate(thresholds):
            exits = taken_exits(np.array(masks.confidence), each)
            shares = [float((exits == number).mean()) for number in range(len(costs))]
            points.append(EarlyExitPoint(list(each), found[i], float(costs[exits].mean()), shares))
        return [found[field] for field in (*fields, _FIELD)], points

    def images(self, limit: int) -> Tensor:
        """Return the first measured images that have the size of the first one, ``(N, C, H, W)``."""
        batches = islice(_EveryOther(self._test_set, 1), limit)
        images = [batch['inputs'] for batch in batches]
        return torch.cat([each for each in images if each.shape == images[0].shape])

    def early_exit(self) -> Callable[[Sequence[float | None], Tensor], object]:
        """Return the network with early exit, as a function of thresholds and a batch of images."""
        segmenter = self._early_exit_segmenter()

        def segment(thresholds: Sequence[float | None], images: Tensor) -> list:
            segmenter.set_thresholds(thresholds)
            return segmenter.predict(images)

        return segment

    def alone(self, network: nn.Module) -> Callable[[Tensor], object]:
        """Return an exit as a network of its own, as a function of a batch of images."""
        return network.predict

    def _early_exit_segmenter(self) -> Any:
        thresholds = [None] * len(self.distiller.exits)
        model = {**deepcopy(self.model), 'type': self.kind, 'thresholds': thresholds}
        segmenter = MODELS.build(model)
        segmenter.load_state_dict(self.distiller.state_dict())
        return segmenter.eval()


class _EveryOther:
    """Every other image of a test set, one by one."""

    def __init__(self, test_set: NormalizedTestSet, first: int) -> None:
        self.metainfo = test_set.metainfo
        self._test_set = test_set
        self._first = first

    def __len__(self) -> int:
        return len(range(self._first, len(self._test_set), 2))

    def __iter__(self) -> Iterator[dict]:
        return islice(self._test_set, self._first, None, 2)


class _Masks:
    """The masks of all exits for one batch after the other, each of which is run once.

    Attributes:
        confidence: Of each exit in each image or window so far.
    """

    def __init__(self, distiller: SegmentationSelfDistiller) -> None:
        self.confidence: list[list[float]] = []
        self._distiller = distiller
        self._batch: dict | None = None
        self._samples: list = []

    @torch.no_grad()
    def of(self, batch: dict, field: str = _FIELD) -> list:
        """Return the masks of an exit, by the field of the data samples."""
        if self._batch is not batch:
            changed = with_attributes(self._distiller, all_logits=self._all_logits)
            samples = [sample.clone() for sample in batch['data_samples']]
            self._samples = predict_with_exits(changed, batch['inputs'], samples)
            self._batch = batch
        return [sample.get(field) for sample in self._samples]

    def _all_logits(self, images: Tensor, metas: list[dict], encode_decode: Any) -> list[Tensor]:
        logits = self._distiller.all_logits(images, metas, encode_decode)
        for number in range(len(images)):
            self.confidence.append([confidence(each[number : number + 1]) for each in logits[1:]])
        return logits


@torch.no_grad()
def _predict(segmenter: Any, thresholds: Sequence[float | None], batch: dict) -> list:
    segmenter.set_thresholds(thresholds)
    samples = [sample.clone() for sample in batch['data_samples']]
    return [sample.get(_FIELD) for sample in segmenter.predict(batch['inputs'], samples)]
