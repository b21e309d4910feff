"""The settings of images in an image processor of transformers."""

from collections.abc import Mapping
from typing import Any

from .image_settings import ImageSettings, Size

# Filters of Pillow by number, as processors save them.
_FILTERS = {0: 'nearest', 1: 'lanczos', 2: 'bilinear', 3: 'bicubic', 4: 'box', 5: 'hamming'}


def processor_settings(name: str, size: Size | None = None) -> ImageSettings:
    """Return what a network's image processor says of its images.

    Args:
        name: A folder, or a name on the hub.
        size: ``(H, W)`` in place of the processor's.

    Raises:
        Exception: What transformers raises if there is no image processor.
    """
    from transformers import AutoImageProcessor

    try:
        processor = AutoImageProcessor.from_pretrained(
            name, trust_remote_code=False, use_fast=False
        )
    except ValueError as error:  # DINOv3 has only the other kind, of tensors.
        if 'use_fast=True' not in str(error):
            raise
        processor = AutoImageProcessor.from_pretrained(name, trust_remote_code=False, use_fast=True)
    processor = getattr(processor, 'image_processor', processor)
    # The network reads (scale x + offset - mean) / std of pixel values x.
    scale = processor.rescale_factor if getattr(processor, 'do_rescale', True) else 1.0
    offset = -1.0 if getattr(processor, 'rescale_offset', False) else 0.0
    mean, std = [0.0] * 3, [1.0] * 3
    if getattr(processor, 'do_normalize', True):
        mean, std = processor.image_mean, processor.image_std
    return ImageSettings(
        size or _size(processor),
        _interpolation(getattr(processor, 'resample', None)),
        tuple((value - offset) / scale for value in mean),
        tuple(value / scale for value in std),
    )


def _size(processor: Any) -> Size:
    """Return the size of the crop, or that to which images are resized."""
    crops = getattr(processor, 'do_center_crop', False)
    size = processor.crop_size if crops else processor.size
    if not isinstance(size, Mapping) and not hasattr(size, 'keys'):
        return (size, size) if isinstance(size, int) else (size[0], size[1])
    if size.get('height') is not None:
        return size['height'], size['width']
    return size['shortest_edge'], size['shortest_edge']


def _interpolation(resample: Any) -> str:
    value = getattr(resample, 'value', resample)
    return value if isinstance(value, str) else _FILTERS.get(value, 'bilinear')
