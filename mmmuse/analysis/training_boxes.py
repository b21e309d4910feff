"""The sizes of the boxes that a detector is trained on, read from its COCO annotation files."""

import io
from collections import Counter
from collections.abc import Mapping
from contextlib import redirect_stdout
from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor

from mmmuse.detection import CheckedCocoDataset
from mmmuse.errors import InputError


class Boxes(NamedTuple):
    """Box sizes of a data set, and the number of boxes left out.

    Attributes:
        sizes: Width and height in pixels at the training size, ``(N, 2)``, float64.
        left_out: Number of boxes that were not counted, by reason.
    """

    sizes: Tensor
    left_out: Counter


def read_boxes(files: Mapping[str, tuple[str, ...] | None], image_size: float) -> Boxes:
    """Read the sizes of the boxes of COCO annotation files, at the training size.

    Each image is assumed to be resized to a longer side of ``image_size``, with its aspect
    ratio kept. Boxes that :class:`mmmuse.detection.CheckedCocoDataset` leaves out, and crowds,
    are not counted.

    Args:
        files: The class names to count for each path, None for all.
        image_size: Pixels.

    Raises:
        InputError: If a file is missing or not a valid COCO file, its categories are not the
            classes, or no file has a box.
    """
    sizes, left_out = [], Counter()
    for path, classes in files.items():
        with redirect_stdout(io.StringIO()):  # pycocotools prints its progress.
            dataset = CheckedCocoDataset(
                ann_file=path,
                metainfo=dict(classes=classes or ()),
                data_prefix=dict(img=''),
                lazy_init=True,
            )
            images = dataset.load_data_list()
        for image in images:
            scale = image_size / max(image['width'], image['height'])
            for instance in image['instances']:
                left, top, right, bottom = instance['bbox']
                if instance['ignore_flag']:
                    left_out['crowd'] += 1
                else:
                    sizes.append([scale * (right - left), scale * (bottom - top)])
        counts = dataset.box_counts
        left_out += Counter(
            {
                'ignored': counts['ignored'],
                'degenerate': counts['empty'] + counts['outside'] + counts['not finite'],
                'of other classes': counts['of other classes'],
                'of unknown categories': counts['of unknown categories'],
                'of unknown images': counts['of unknown images'],
            }
        )
    if not sizes:
        reasons = ', '.join(f'{count} {reason}' for reason, count in left_out.items())
        raise InputError(
            f'no boxes in {", ".join(files)}' + (f'; left out: {reasons}' if reasons else '')
        )
    return Boxes(torch.tensor(sizes, dtype=torch.float64), left_out)


def annotation_files(dataset: dict) -> dict[str, tuple[str, ...] | None]:
    """Return the annotation files in a data set's config, with their class names.

    Data sets in wrappers are included; repetitions are not counted.

    Args:
        dataset: ``train_dataloader.dataset``.
    """
    files = {}
    for part in _wrapped(dataset):
        files |= annotation_files(part)
    if not dataset.get('ann_file'):
        return files
    classes = (dataset.get('metainfo') or {}).get('classes')
    path = Path(dataset.get('data_root') or '') / dataset['ann_file']
    return {str(path): (classes,) if isinstance(classes, str) else classes and tuple(classes)}


def image_size_of(dataset: dict) -> int | None:
    """Return the side of a data set's square training images, None if its pipeline has none.

    It is the size of the first mosaic or resize, the outermost wrapper first.

    Args:
        dataset: ``train_dataloader.dataset``.
    """
    for transform in dataset.get('pipeline') or []:
        kind = str(transform.get('type'))
        if 'Mosaic' in kind or 'Resize' in kind:
            scale = transform.get('img_scale') or transform.get('scale')
            sides = [scale] if isinstance(scale, int) else list(scale or ())
            if sides and isinstance(sides[0], int) and sides.count(sides[0]) == len(sides):
                return sides[0]
    return next(filter(None, map(image_size_of, _wrapped(dataset))), None)


def _wrapped(dataset: dict) -> list[dict]:
    """Return the configs of the data sets that a wrapper holds."""
    return [dataset['dataset']] if 'dataset' in dataset else dataset.get('datasets', [])
