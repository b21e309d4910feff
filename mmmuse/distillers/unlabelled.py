"""Data samples without their labels, for a teacher that needs the sizes of its images."""

from collections.abc import Sequence

from mmengine.structures import BaseDataElement

# Sizes (h, w, ...) in the metadata of a data sample.
_SIZES = ('img_shape', 'pad_shape', 'batch_input_shape')


def without_labels(
    data_samples: Sequence[BaseDataElement] | None, size: Sequence[int], new_size: Sequence[int]
) -> list[BaseDataElement] | None:
    """Return new data samples with the metadata of others, and nothing else.

    Args:
        data_samples: Of the student's images; None gives None.
        size: ``(H, W)`` of the student's images.
        new_size: ``(H, W)`` of the teacher's images, which are the student's resized.
    """
    if data_samples is None:
        return None
    scale = [new / old for old, new in zip(size, new_size, strict=True)]
    return [type(sample)(metainfo=_resized(sample.metainfo, scale)) for sample in data_samples]


def _resized(metainfo: dict, scale: Sequence[float]) -> dict:
    metainfo = dict(metainfo)
    for name in _SIZES:
        if name in metainfo:
            height, width, *more = metainfo[name]
            metainfo[name] = (round(height * scale[0]), round(width * scale[1]), *more)
    if 'scale_factor' in metainfo:  # (w, h)
        width, height = metainfo['scale_factor'][:2]
        metainfo['scale_factor'] = (width * scale[1], height * scale[0])
    return metainfo
