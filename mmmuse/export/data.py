"""The images of a config, as its network sees them."""

from collections.abc import Iterable, Iterator, Sequence
from copy import deepcopy

import torch
from mmengine.config import Config
from mmengine.model import BaseModel
from mmengine.registry import DATASETS
from mmengine.runner import Runner
from mmpretrain.datasets import CIFAR10
from torch import Tensor

from mmmuse.errors import InputError


def normalised_batches(
    config: Config, split: str, model: BaseModel, data_root: str | None = None
) -> Iterator[tuple[Tensor, Tensor]]:
    """Go through the images of a config's data, normalised and without the batched augmentation.

    Args:
        config: With ``train_dataloader``, ``val_dataloader`` or ``test_dataloader``.
        split: ``'train'``, ``'val'`` or ``'test'``.
        model: Whose preprocessor normalises.
        data_root: In place of the config's, if given.

    Returns:
        Batches of images ``(N, C, H, W)`` and labels ``(N, )``.

    Raises:
        InputError: If the config has no such data, or it is not there.
    """
    loader = config.get(f'{split}_dataloader')
    if loader is None:
        raise InputError(f'the config has no {split}_dataloader')
    loader = deepcopy(loader)
    if data_root is not None:
        dataset = loader.dataset
        while 'dataset' in dataset:
            dataset = dataset.dataset
        dataset.data_root = data_root
    for batch in Runner.build_dataloader(loader, seed=0):
        data = model.data_preprocessor(batch, training=False)
        yield data['inputs'], torch.cat([sample.gt_label for sample in data['data_samples']])


def first_images(batches: Iterable[tuple[Tensor, Tensor]], limit: int) -> Iterator[Tensor]:
    """Hand on the images of batches until ``limit`` have been seen; the last batch is cut."""
    for images, _ in batches:
        yield images[:limit]
        limit -= len(images)
        if limit <= 0:
            return


def image_shape(config: Config) -> tuple[int, int, int]:
    """Return the shape ``(C, H, W)`` of the images that a config's network sees, data unread.

    It is read from the preprocessor's ``resize``, the last transform of the
    test pipeline that sets a size, or the data set's class.

    Raises:
        InputError: If none of them says it.
    """
    loader = config.get('test_dataloader') or config.get('val_dataloader') or {}
    dataset = loader.get('dataset') or {}
    kind = DATASETS.get(dataset.get('type', '')) if dataset.get('type') else None
    channels, *size = _shape_of(kind) or (3,)
    preprocessor = config.get('data_preprocessor') or {}
    sizes = [preprocessor.get('resize')]
    for transform in reversed(dataset.get('pipeline') or []):
        scale = transform.get('scale')  # (W, H), unlike crop_size.
        sizes += [transform.get('crop_size'), scale[::-1] if isinstance(scale, Sequence) else scale]
    sizes.append(size)
    for size in filter(None, sizes):
        height, width = (size, size) if isinstance(size, int) else size
        return channels, height, width
    raise InputError('the config does not say how large its images are: pass --input-shape C H W')


def _shape_of(kind: type | None) -> tuple[int, int, int] | None:
    if kind is not None and issubclass(kind, CIFAR10):
        return (3, 32, 32)
    return getattr(kind, 'image_shape', None)
