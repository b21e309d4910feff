"""The images of a config, normalized for the network."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from copy import deepcopy
from itertools import islice

import torch
import torch.nn.functional as F
from mmengine.config import Config
from mmengine.model import BaseModel
from mmengine.registry import DATASETS
from mmengine.runner import Runner
from mmpretrain.datasets import CIFAR10
from torch import Tensor

from mmmuse.errors import ImageShapeError, InputError
from mmmuse.registry import look_up
from mmmuse.tapping.image_size import config_channels, config_test_size


class NormalizedTestSet:
    """The images of a config's data, normalized: ``inputs`` and ``data_samples`` of each batch.

    Args:
        config: With ``test_dataloader``.
        model: Its preprocessor normalizes the images, without the batched augmentation.
        limit: Maximum number of images, in batches of one; None for all, in the batches of the config.
        shape: ``(C, H, W)`` to pad all images to; None for the shape of the preprocessor's output.
        data_root: In place of the config's, if given.
        split: ``'test'``, or ``'train'`` or ``'val'`` for other data of the config.

    Raises:
        InputError: If the config has no such data or no images, or an image is larger than
            ``shape``.
    """

    def __init__(
        self,
        config: Config,
        model: BaseModel,
        limit: int | None = None,
        shape: Sequence[int] | None = None,
        data_root: str | None = None,
        split: str = 'test',
    ) -> None:
        loader = deepcopy(config.get(f'{split}_dataloader'))
        if loader is None:
            raise InputError(f'the config has no {split}_dataloader')
        if data_root is not None:
            dataset = loader.dataset
            while 'dataset' in dataset:
                dataset = dataset.dataset
            dataset.data_root = data_root
        if limit is not None:
            loader.update(batch_size=1, num_workers=0, persistent_workers=False)
        self._loader = Runner.build_dataloader(loader, seed=0)
        if not len(self._loader):
            raise InputError(f'no {split} images')
        self._preprocessor = model.data_preprocessor
        self._limit = limit
        self._shape = shape

    def __len__(self) -> int:
        """Number of batches."""
        return len(self._loader) if self._limit is None else min(self._limit, len(self._loader))

    @property
    def metainfo(self) -> dict | None:
        """Class names of the data set."""
        return getattr(self._loader.dataset, 'metainfo', None)

    def __iter__(self) -> Iterator[dict]:
        for data in islice(self._loader, self._limit):
            batch = self._preprocessor(data, training=False)
            value = getattr(self._preprocessor, 'pad_value', 0)
            yield batch if self._shape is None else padded(batch, self._shape, value)


def normalized_batches(
    config: Config,
    split: str,
    model: BaseModel,
    data_root: str | None = None,
    track: Callable[[NormalizedTestSet], Iterable[dict]] = iter,
) -> Iterator[tuple[Tensor, Tensor]]:
    """Iterate over images ``(N, C, H, W)`` and labels ``(N, )`` of a classifier's data.

    The arguments and errors are those of :class:`NormalizedTestSet`; ``track`` iterates over it, and may
    show its progress.
    """
    for data in track(NormalizedTestSet(config, model, data_root=data_root, split=split)):
        yield data['inputs'], torch.cat([sample.gt_label for sample in data['data_samples']])


def training_images(
    config: Config, model: BaseModel, data_root: str | None = None
) -> Iterator[tuple[Tensor, None]]:
    """Iterate over the training images ``(N, C, H, W)`` of any network, normalized, without labels."""
    for data in NormalizedTestSet(config, model, data_root=data_root, split='train'):
        yield data['inputs'], None


def innermost(dataset: dict) -> list[dict]:
    """Return the configs of the data sets inside the wrappers of one, which have the pipelines."""
    inside = [dataset['dataset']] if 'dataset' in dataset else dataset.get('datasets')
    return [dataset] if inside is None else [each for one in inside for each in innermost(one)]


def common_shape(batches: Iterable[dict]) -> tuple[int, ...]:
    """Return the smallest shape ``(C, H, W)`` that images of all batches fit into."""
    return tuple(map(max, zip(*(batch['inputs'].shape[1:] for batch in batches), strict=True)))


def padded(batch: dict, shape: Sequence[int], value: float) -> dict:
    """Return a batch whose images are padded to a shape, below and on the right.

    Args:
        batch: ``inputs (N, C, H, W)`` and ``data_samples``.
        shape: ``(C, H, W)``.
        value: Of the padding, normalized.

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


def first_images(batches: Iterable[tuple[Tensor, Tensor]], limit: int) -> Iterator[Tensor]:
    """Yield the first ``limit`` images, batch by batch; the last batch is cut."""
    for images, _ in batches:
        yield images[:limit]
        limit -= len(images)
        if limit <= 0:
            return


def image_shape(config: Config) -> tuple[int, int, int]:
    """Return the shape ``(C, H, W)`` of the test images of a config, without reading the data.

    The size is that of :func:`mmmuse.tapping.image_size.config_test_size`, or of the data set's class. The
    channels are those of the model's ``input_shape``, of the class, of
    :func:`mmmuse.tapping.image_size.config_channels`, or 3.

    Raises:
        ImageShapeError: If none of them gives a size.
    """
    loader = config.get('test_dataloader') or config.get('val_dataloader') or {}
    dataset = loader.get('dataset') or {}
    scope = config.get('default_scope')
    kind = look_up(DATASETS, dataset['type'], scope) if dataset.get('type') else None
    shape = _shape_of(kind)
    size = config_test_size(config) or (shape and shape[1:])
    if not size:
        raise ImageShapeError('the size of the images is not in the config')
    own = (config.get('model') or {}).get('input_shape')
    channels = own[0] if own else shape[0] if shape else config_channels(config) or 3
    return (channels, *size)


def _shape_of(kind: type | None) -> tuple[int, int, int] | None:
    if kind is not None and issubclass(kind, CIFAR10):
        return (3, 32, 32)
    return getattr(kind, 'image_shape', None)
