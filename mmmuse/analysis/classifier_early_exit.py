"""Early exit of a classifier, measured on the test set."""

from collections.abc import Callable, Iterable, Sequence
from functools import partial

import numpy as np
import torch
from mmengine.config import Config
from torch import Tensor

from mmmuse.distillers import EarlyExitClassifier, SelfDistiller
from mmmuse.errors import InputError
from mmmuse.export.data import first_images, image_shape, normalized_batches
from mmmuse.export.trained import load_trained, model_config
from mmmuse.registry import MODELS

from .early_exit import EarlyExitPoint, evaluate_thresholds
from .exit_record import record_exits, refuse_multi_label


class ClassifierExits:
    """The exits of a classifier: their confidence in each image, their accuracy and their time.

    Args:
        config: Of the distilled network.
        checkpoint: Of its training.
        data_root: In place of the config's, if given.
        trust: Load a file that holds more than weights.

    Raises:
        InputError: See :func:`mmmuse.export.trained.load_trained`; also if the classifier is multi-label.
    """

    accuracy = ('top1', 'top-1 %')
    kind = 'mmmuse.EarlyExitClassifier'
    counted = 'images'

    def __init__(
        self, config: Config, checkpoint: str, data_root: str | None = None, trust: bool = False
    ) -> None:
        self.config = config
        self.data_root = data_root
        self.model = config.model
        self.distiller: SelfDistiller = load_trained(config, checkpoint, trust)
        refuse_multi_label(self.distiller)

    def image_shape(self) -> tuple[int, int, int]:
        """Return the shape of the config's images, ``(C, H, W)``."""
        return image_shape(self.config)

    def run(self, track: Callable[[Iterable], Iterable] = iter) -> None:
        """Run every exit on every image of the test set.

        Raises:
            InputError: If there are fewer than two images.
        """
        batches = normalized_batches(self.config, 'test', self.distiller, self.data_root, track)
        record = record_exits(self.distiller, batches)
        if len(record.correct) < 2:
            raise InputError('early exit needs at least 2 images: half choose the thresholds')
        self._chosen_on, self._measured_on = (
            record.take(slice(0, None, 2)),
            record.take(slice(1, None, 2)),
        )

    @property
    def confidence(self) -> np.ndarray:
        """Of the images that thresholds are chosen on, ``(N, T - 1)``."""
        return self._chosen_on.confidence

    @property
    def num_images(self) -> int:
        """Number of the images that are measured."""
        return len(self._measured_on.correct)

    def measure(
        self,
        costs: np.ndarray,
        thresholds: Sequence[Sequence[float | None]],
        track: Callable[[Iterable], Iterable] = iter,
    ) -> tuple[list[float], list[EarlyExitPoint]]:
        """Return the accuracy of each exit as a network of its own, and that of choices of thresholds.

        Args:
            costs: Of each exit; see :func:`mmmuse.analysis.early_exit.cumulative_costs`.
            thresholds: The choices.
            track: Shows the progress of what is run, which is nothing here.
        """
        points = [evaluate_thresholds(self._measured_on, costs, each) for each in thresholds]
        return (100 * self._measured_on.correct.mean(0)).tolist(), points

    def images(self, limit: int) -> Tensor:
        """Return the first measured images ``(N, C, H, W)``, normalized."""
        batches = normalized_batches(self.config, 'test', self.distiller, self.data_root)
        return torch.cat(list(first_images(batches, 2 * limit)))[1::2]

    def early_exit(self) -> Callable[[Sequence[float | None], Tensor], object]:
        """Return the network with early exit, as a function of thresholds and a batch of images."""
        thresholds = [None] * len(self.distiller.tap_paths.shallow)
        model = {**model_config(self.config), 'type': self.kind, 'thresholds': thresholds}
        classifier: EarlyExitClassifier = MODELS.build(model)
        classifier.load_state_dict(self.distiller.state_dict())
        return partial(_classify, classifier.eval())

    def alone(self, network: torch.nn.Module) -> Callable[[Tensor], object]:
        """Return an exit as a network of its own, as a function of a batch of images."""
        return network


def _classify(
    classifier: EarlyExitClassifier, thresholds: Sequence[float | None], images: Tensor
) -> Tensor:
    classifier.set_thresholds(thresholds)
    return classifier(images)
