"""The size of a network's images, from its config and its parts."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from torch import nn

Size = tuple[int, int]

# Transforms that give images one size, by the argument that has it: those whose pairs are (w, h), as
# mmcv writes them, and those whose pairs are (h, w).
_WIDTH_FIRST = {
    'Resize': 'scale',
    'FixScaleResize': 'scale',
    'RandomResize': 'scale',
    'RandomChoiceResize': 'scales',
    'CenterCrop': 'crop_size',
    'Pad': 'size',
    'Mosaic': 'img_scale',
    'CachedMosaic': 'img_scale',
}
_HEIGHT_FIRST = {
    'ResizeEdge': 'scale',
    'RandomResizedCrop': 'scale',
    'RandomCrop': 'crop_size',
    'RandomCenterCropPad': 'crop_size',
    'EfficientNetRandomCrop': 'scale',
    'EfficientNetCenterCrop': 'crop_size',
}


def declared_size(model: nn.Module) -> Size | None:
    """Return the image size ``(H, W)`` that a built model declares; None if it does not.

    It is that of the config that ``mmpretrain.get_model`` and ``mmdet.apis.init_detector`` leave in the
    model, the ``img_size`` of a transformer, or the size to which the preprocessor resizes or pads.
    """
    for name in ('_config', 'cfg'):
        config = getattr(model, name, None)
        if isinstance(config, Mapping) or hasattr(config, '_cfg_dict'):
            size = config_size(config)
            if size is not None:
                return size
    for module in model.modules():
        size = getattr(module, 'img_size', None)
        if size is not None:
            return _pair(size)
    preprocessor = getattr(model, 'data_preprocessor', None)
    augments = getattr(preprocessor, 'batch_augments', None) or ()
    # 'size' is that of mmseg's preprocessor.
    sizes = [getattr(preprocessor, name, None) for name in ('resize', 'size')]
    if isinstance(augments, (list, tuple, nn.ModuleList)):
        sizes += [getattr(augment, 'size', None) for augment in augments]
    return next((_pair(size) for size in sizes if size is not None), None)


def config_size(config: Mapping) -> Size | None:
    """Return the size ``(H, W)`` of the images that a config gives its model; None if it does not.

    Of a detector they are those of the test pipeline: a training pipeline has many sizes. Of another
    model they are those of the training pipeline. Where images keep their aspect ratio, it is the size of the
    largest in landscape format. The preprocessor's padding is added; the size to which it resizes
    replaces that of a pipeline.

    Args:
        config: A complete config.
    """
    loaders = ['train_dataloader', 'val_dataloader', 'test_dataloader']
    if config.get('default_scope') == 'mmdet':
        loaders.reverse()
    return _first_size(config, loaders)


def config_test_size(config: Mapping) -> Size | None:
    """Return the size ``(H, W)`` of a config's test images, read as :func:`config_size` reads it.

    Args:
        config: A complete config. Without a test they are the images of its validation.
    """
    return _first_size(config, ['test_dataloader', 'val_dataloader'])


def config_channels(config: Mapping) -> int | None:
    """Return the channels of the images that a config gives its model; None if it does not say.

    They are as many as the values of the mean that the preprocessor subtracts. A mean of one value is for
    all channels: they are then the backbone's ``in_channels``, or 1.

    Args:
        config: A complete config.
    """
    mean = _preprocessor(config).get('mean')
    if not mean or len(mean) > 1:
        return len(mean) if mean else None
    model = config.get('model') or {}
    student = model.get('student', model)
    backbone = student.get('backbone') if isinstance(student, Mapping) else None
    return (backbone or {}).get('in_channels', 1)


def add_image_shape(config: Mapping) -> None:
    """Give a distiller whose taps are proposed the shape of its config's images as ``input_shape``.

    Args:
        config: A complete config, which is changed. One of another model, or that gives the
            shape, is not.
    """
    model = config.get('model') or {}
    taps = model.get('taps')
    proposed = taps == 'auto' or (isinstance(taps, Mapping) and 'num_modules' in taps)
    size = config_size(config)
    if 'student' not in model or not proposed or model.get('input_shape') or size is None:
        return
    model['input_shape'] = [config_channels(config) or 3, *size]


def _first_size(config: Mapping, loaders: Sequence[str]) -> Size | None:
    resize = _preprocessor(config).get('resize')
    if resize is not None:
        return _pair(resize)
    for name in loaders:
        size = _pipeline_size(_transforms((config.get(name) or {}).get('dataset')))
        if size is not None:
            return _padded(size, config)
    return None


def _transforms(dataset: Any) -> Iterator[Mapping]:
    """Yield the transforms of a data set, those of the data set that it wraps first."""
    if isinstance(dataset, Sequence) and not isinstance(dataset, str):
        dataset = dataset[0] if dataset else None
    if isinstance(dataset, Mapping):
        yield from _transforms(dataset.get('dataset') or dataset.get('datasets'))
        yield from flat_transforms(dataset.get('pipeline'))


def flat_transforms(pipeline: Any) -> Iterator[Mapping]:
    """Yield the transforms of a pipeline; of several views (``MultiView``), those of the first."""
    for transform in pipeline if isinstance(pipeline, (list, tuple)) else ():
        if not isinstance(transform, Mapping):
            continue
        yield transform
        inner = transform.get('transforms')
        if str(transform.get('type')).split('.')[-1] == 'MultiView' and inner:
            yield from flat_transforms(inner[0])


def _pipeline_size(transforms: Iterator[Mapping]) -> Size | None:
    size = None
    for transform in transforms:
        kind = transform.get('type')
        kind = str(getattr(kind, '__name__', kind)).split('.')[-1]
        width_first = kind in _WIDTH_FIRST
        value = transform.get(_WIDTH_FIRST.get(kind) or _HEIGHT_FIRST.get(kind) or '')
        if (kind == 'RandomChoiceResize' and value is not None) or (
            kind == 'RandomResize' and value is not None and not isinstance(value[0], (int, float))
        ):
            value = max(value, key=_area)
        if value is None or not _is_size(value):
            continue
        size = _pair(value)[::-1] if width_first else _pair(value)
        if transform.get('keep_ratio'):
            size = (min(size), max(size))
    return size


def _is_size(value: Any) -> bool:
    values = value if isinstance(value, Sequence) and not isinstance(value, str) else [value]
    return len(values) in (1, 2) and all(type(one) is int and one > 0 for one in values)


def _area(value: int | Sequence[int]) -> int:
    height, width = _pair(value)
    return height * width


def _pair(size: int | Sequence[int]) -> Size:
    """Return a size, or a side of a square, as two sides."""
    sides = tuple(size) if isinstance(size, Sequence) else (size,)
    return (sides[0], sides[-1])


def _preprocessor(config: Mapping) -> Mapping:
    """Return the config of the preprocessor, which a distiller or its student may have."""
    model = config.get('model') or {}
    student = model.get('student') if isinstance(model.get('student'), Mapping) else {}
    for owner in (student, model, config):
        if owner.get('data_preprocessor'):
            return owner['data_preprocessor']
    return {}


def _padded(size: Size, config: Mapping) -> Size:
    divisor = _preprocessor(config).get('pad_size_divisor') or 1
    return tuple(-(-side // divisor) * divisor for side in size)
