"""Figures of images with the masks of ground truth, segmenter and exits side by side."""

from collections.abc import Iterable, Iterator, Sequence
from copy import deepcopy
from typing import NamedTuple

import numpy as np
import torch
from matplotlib.figure import Figure
from matplotlib.patches import Patch
from mmcv.transforms import Compose
from mmengine.config import Config
from mmengine.dataset import pseudo_collate
from mmengine.model import BaseModel
from mmseg.structures import SegDataSample

from mmmuse.registry import DATASETS

from .panel_figure import panel_figure
from .pictured_data import dataset_config, fields_of_exits, first_images, image_reader, innermost

_PANEL = 4.0  # Inches of its longer side.
_BELOW = 1.0  # Inches for the titles and the names of the classes.
_IGNORED = (128, 128, 128)


class Panel(NamedTuple):
    """One mask of an image.

    Attributes:
        title: Of the panel.
        mask: Class of each pixel, ``(H, W)``.
    """

    title: str
    mask: np.ndarray


class Masks(NamedTuple):
    """An image and its panels.

    Attributes:
        path: Of the image file.
        image: RGB, ``(H, W, 3)``, as in the file.
        panels: Ground truth, if available, the segmenter, then its exits.
    """

    path: str
    image: np.ndarray
    panels: list[Panel]


def images_of_split(
    config: Config, split: str, segmenter: BaseModel, limit: int
) -> Iterator[Masks]:
    """Iterate over the first images of a config's data, with their ground truth.

    Args:
        config: With ``val_dataloader`` or ``test_dataloader``.
        split: ``'val'`` or ``'test'``.
        segmenter: From :func:`mmmuse.export.trained.load_trained_segmenter`.
        limit: Maximum number of images.

    Raises:
        InputError: If the config has no such data or no image, or an image cannot be read.
    """
    for info, data, image in first_images(config, split, limit):
        yield Masks(info['img_path'], image, _segment(segmenter, data))


def images_of_files(
    config: Config, split: str, segmenter: BaseModel, files: Iterable[str]
) -> Iterator[Masks]:
    """Iterate over image files, which have no ground truth.

    Args:
        config: With ``val_dataloader`` or ``test_dataloader``; its data need not be there.
        split: ``'val'`` or ``'test'``, whose pipeline is used.
        segmenter: From :func:`mmmuse.export.trained.load_trained_segmenter`.
        files: Paths.

    Raises:
        InputError: If the config has no such pipeline, or a file is missing or not an image.
    """
    dataset = dataset_config(config, split)
    read = image_reader(dataset)
    steps = deepcopy(innermost(dataset).get('pipeline'))
    steps = [step for step in steps if 'LoadAnnotations' not in str(step.get('type'))]
    pipeline = Compose(steps)
    for file in files:
        image = read(file)
        yield Masks(file, image, _segment(segmenter, pipeline(dict(img_path=file, seg_fields=[]))))


@torch.no_grad()
def _segment(segmenter: BaseModel, data: dict) -> list[Panel]:
    return masks_of_sample(segmenter.test_step(pseudo_collate([data]))[0])


def masks_of_sample(sample: SegDataSample) -> list[Panel]:
    """Return the masks of the ground truth, if there is one, of a segmenter and of its exits.

    Args:
        sample: With ``pred_sem_seg`` and, of each exit, ``exit1_sem_seg``, ...
    """
    fields = {'Ground truth': 'gt_sem_seg'} if 'gt_sem_seg' in sample else {}
    fields['Segmenter'] = 'pred_sem_seg'
    fields.update(fields_of_exits(sample.keys(), 'sem_seg'))
    return [
        Panel(title, sample.get(field).data.squeeze(0).cpu().numpy())
        for title, field in fields.items()
    ]


def draw_masks(masks: Masks, classes: Sequence[str], palette: Sequence[Sequence[int]]) -> Figure:
    """Return a figure of an image and its masks side by side, each class in its colour.

    Args:
        masks: The image and its masks.
        classes: Names, by label.
        palette: Colours by label, 0 to 255. A pixel of no class is grey.
    """
    count = 1 + len(masks.panels)
    figure, axes = panel_figure(masks.image.shape, count, masks.path, _PANEL, _BELOW)
    axes[0].imshow(masks.image)
    axes[0].set_title('Image')
    for axis, panel in zip(axes[1:], masks.panels, strict=True):
        axis.imshow(coloured(panel.mask, palette), interpolation='nearest')
        axis.set_title(panel.title)
    shown = sorted({int(label) for panel in masks.panels for label in np.unique(panel.mask)})
    handles = [
        Patch(facecolor=np.array(palette[label]) / 255, edgecolor='grey', label=classes[label])
        for label in shown
        if label < len(classes)
    ]
    legend = figure.legend(handles=handles, loc='outside lower center', ncols=6, fontsize=7)
    for text in legend.get_texts():
        text.set_parse_math(False)
    return figure


def coloured(mask: np.ndarray, palette: Sequence[Sequence[int]]) -> np.ndarray:
    """Return the colours ``(H, W, 3)`` of a mask ``(H, W)``."""
    colours = np.full((256, 3), _IGNORED, np.uint8)
    colours[: len(palette)] = palette
    return colours[mask.astype(np.uint8)]


def palette_of(config: Config, split: str) -> list[list[int]]:
    """Return the colours of the classes of a config's data."""
    dataset = {**deepcopy(dataset_config(config, split)), 'lazy_init': True}
    return [list(colour) for colour in DATASETS.build(dataset).metainfo['palette']]
