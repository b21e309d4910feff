"""The order of the colour channels that a config's data are loaded in."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Literal

from .image_size import flat_transforms

ImageOrder = Literal['rgb', 'bgr']

_OTHER: dict[str | None, ImageOrder | None] = {'rgb': 'bgr', 'bgr': 'rgb', None: None}

# Data sets whose images are arrays in memory. Others load files in their pipeline.
_RGB_DATASETS = {'CIFAR10', 'CIFAR100', 'BatchedCIFAR10', 'BatchedCIFAR100'}

# mmcv decodes files as BGR, with each of these backends.
_LOADERS = {'LoadImageFromFile', 'LoadCheckedImage'}
_BGR_BACKENDS = {None, 'cv2', 'pillow', 'turbojpeg'}
_BGR_COLOURS = {'color', 'color_ignore_orientation'}

# Transforms that swap red and blue where this argument is true.
_SWAPS = {'NumpyToPIL': 'to_rgb', 'PILToNumpy': 'to_bgr', 'Normalize': 'to_rgb'}


def loaded_order(config: Mapping) -> ImageOrder | None:
    """Return the order in which a config's pipeline gives images to the data preprocessor.

    Args:
        config: A complete config, with the data of the training or of a test.

    Returns:
        None if it is not known: there are no data, or a transform or a data set loads them
        in a way of its own.

    Example:
        >>> loaded_order(dict(train_dataloader=dict(dataset=dict(type='CIFAR10', pipeline=[]))))
        'rgb'
    """
    for name in ('train_dataloader', 'val_dataloader', 'test_dataloader'):
        dataset = (config.get(name) or {}).get('dataset')
        if dataset is not None:
            return _order(dataset)
    return None


def _order(dataset: Any) -> ImageOrder | None:
    order: ImageOrder | None = None
    for part in _innermost_first(dataset):
        if _kind(part) in _RGB_DATASETS:
            order = 'rgb'
        for transform in flat_transforms(part.get('pipeline')):
            order = _after(order, transform)
    return order


def _after(order: ImageOrder | None, transform: Mapping) -> ImageOrder | None:
    """Return the order of the images that a transform returns."""
    kind = _kind(transform)
    if kind in _LOADERS:
        known = (
            transform.get('imdecode_backend', 'cv2') in _BGR_BACKENDS
            and transform.get('color_type', 'color') in _BGR_COLOURS
        )
        return 'bgr' if known else None
    if kind.startswith('Load') and 'Image' in kind:
        return None
    swaps = transform.get(_SWAPS.get(kind, ''), kind == 'Normalize')
    return _OTHER[order] if kind in _SWAPS and swaps else order


def _innermost_first(dataset: Any) -> Iterator[Mapping]:
    """Yield the data sets that a data set wraps, then itself; of several the first."""
    if isinstance(dataset, Sequence) and not isinstance(dataset, str):
        dataset = dataset[0] if dataset else None
    if isinstance(dataset, Mapping):
        yield from _innermost_first(dataset.get('dataset') or dataset.get('datasets'))
        yield dataset


def _kind(part: Mapping) -> str:
    kind = part.get('type')
    return str(getattr(kind, '__name__', kind)).split('.')[-1]
