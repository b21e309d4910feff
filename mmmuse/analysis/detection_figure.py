"""Figures of images with the boxes of ground truth, detector and exits side by side."""

from collections.abc import Iterable, Iterator, Sequence
from copy import deepcopy
from typing import NamedTuple

import numpy as np
import torch
from matplotlib.axes import Axes
from matplotlib.colors import hsv_to_rgb
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from mmcv.transforms import Compose
from mmdet.structures import DetDataSample
from mmdet.structures.bbox import get_box_tensor
from mmengine.config import Config
from mmengine.dataset import pseudo_collate
from mmengine.model import BaseModel
from mmengine.structures import InstanceData
from torch import Tensor

from mmmuse.errors import InputError

from .panel_figure import panel_figure
from .pictured_data import dataset_config, fields_of_exits, first_images, image_reader, innermost

_PANEL = 5.0  # Inches of its longer side.
_TITLES = 0.7  # Inches above the panels.


class Panel(NamedTuple):
    """Boxes that are drawn on one copy of an image.

    Attributes:
        title: Of the panel.
        boxes: Corners in pixels of the image, ``(M, 4)``.
        labels: Indices of classes ``(M, )``.
        scores: ``(M, )``; None for ground truth.
    """

    title: str
    boxes: Tensor
    labels: Tensor
    scores: Tensor | None = None


class Detections(NamedTuple):
    """An image and its panels.

    Attributes:
        path: Of the image file.
        image: RGB, ``(H, W, 3)``, as in the file.
        panels: Ground truth, if available, the detector, then its exits.
    """

    path: str
    image: np.ndarray
    panels: list[Panel]


def images_of_split(
    config: Config, split: str, detector: BaseModel, limit: int, score: float
) -> Iterator[Detections]:
    """Iterate over the first images of a config's data, with their ground truth.

    Args:
        config: With ``val_dataloader`` or ``test_dataloader``.
        split: ``'val'`` or ``'test'``.
        detector: From :func:`mmmuse.export.trained.load_trained_detector`.
        limit: Maximum number of images.
        score: Boxes of lower scores are omitted.

    Raises:
        InputError: If the config has no such data or no image, or an image cannot be read.
    """
    for info, data, image in first_images(config, split, limit):
        panels = [ground_truth(info['instances']), *_detect(detector, data, score)]
        yield Detections(info['img_path'], image, panels)


def images_of_files(
    config: Config, split: str, detector: BaseModel, files: Iterable[str], score: float
) -> Iterator[Detections]:
    """Iterate over image files, which have no ground truth.

    Args:
        config: With ``val_dataloader`` or ``test_dataloader``; its data need not be there.
        split: ``'val'`` or ``'test'``, whose pipeline is used.
        detector: From :func:`mmmuse.export.trained.load_trained_detector`.
        files: Paths.
        score: Boxes of lower scores are left out.

    Raises:
        InputError: If the config has no such pipeline, or a file is missing or not an image.
    """
    dataset = dataset_config(config, split)
    read = image_reader(dataset)
    pipeline = Compose(deepcopy(innermost(dataset).get('pipeline')))
    for file in files:
        image = read(file)
        data = pipeline(dict(img_path=file, img_id=0, instances=[]))
        yield Detections(file, image, _detect(detector, data, score))


@torch.no_grad()
def _detect(detector: BaseModel, data: dict, score: float) -> list[Panel]:
    return predictions(detector.test_step(pseudo_collate([data]))[0], score)


def ground_truth(instances: Sequence[dict]) -> Panel:
    """Return the annotated boxes of an image, without those that are to be ignored (crowds).

    Args:
        instances: ``bbox``, ``bbox_label`` and ``ignore_flag`` of each.
    """
    counted = [instance for instance in instances if not instance.get('ignore_flag')]
    return Panel(
        'Ground truth',
        torch.tensor([instance['bbox'] for instance in counted]).reshape(-1, 4),
        torch.tensor([instance['bbox_label'] for instance in counted], dtype=torch.long),
    )


def predictions(sample: DetDataSample, score: float) -> list[Panel]:
    """Return the boxes of a detector and of its exits.

    Args:
        sample: With ``pred_instances`` and, of each exit, ``exit1_instances``, ...
        score: Boxes of lower scores are left out.

    Raises:
        InputError: If there are none, as of a detector that predicts segments only.
    """
    if 'pred_instances' not in sample:
        raise InputError('the detector predicts no boxes to draw')
    fields = {'Detector': 'pred_instances', **fields_of_exits(sample.keys(), 'instances')}
    return [_panel(title, sample.get(field), score) for title, field in fields.items()]


def _panel(title: str, instances: InstanceData, score: float) -> Panel:
    kept = instances[instances.scores >= score].cpu()
    return Panel(title, get_box_tensor(kept.bboxes), kept.labels, kept.scores)


def draw_detections(
    detections: Detections, classes: Sequence[str], note: str = '', chosen: int | None = None
) -> Figure:
    """Return a figure of an image's panels side by side, each class in one colour.

    Args:
        detections: The image and its boxes.
        classes: Names, by label.
        note: Text after the file's name in the title.
        chosen: Number of the exit that is marked as chosen in its panel's title.
    """
    height, width = detections.image.shape[:2]
    count = len(detections.panels)
    figure, axes = panel_figure((height, width), count, detections.path, _PANEL, _TITLES, note)
    for axis, panel in zip(axes, detections.panels, strict=True):
        # A box at 0 begins at the left edge of the first pixel, not at its centre.
        axis.imshow(detections.image, extent=(0, width, height, 0))
        count = len(panel.boxes)
        mark = ' (chosen)' if panel.title == f'Exit {chosen}' else ''
        axis.set_title(f'{panel.title}{mark}: {count} {"box" if count == 1 else "boxes"}')
        axis.set(xlim=(0, width), ylim=(height, 0))
        _draw_boxes(axis, panel, classes)
    return figure


def _draw_boxes(axis: Axes, panel: Panel, classes: Sequence[str]) -> None:
    width, height = axis.get_xlim()[1], axis.get_ylim()[0]
    order = range(len(panel.boxes)) if panel.scores is None else panel.scores.argsort().tolist()
    for i in order:  # The highest score is drawn last, on top.
        label = int(panel.labels[i])
        text = classes[label] if label < len(classes) else f'class {label}'
        if panel.scores is not None:
            text += f' {panel.scores[i]:.2f}'
        left, upper, right, lower = panel.boxes[i].tolist()
        colour = class_colour(label)
        axis.add_patch(
            Rectangle((left, upper), right - left, lower - upper, fill=False, edgecolor=colour)
        )
        at_right = left > 0.8 * width  # Where a name would not fit into the image.
        axis.text(
            min(right, width) if at_right else left,
            upper,
            text,
            fontsize=6,
            horizontalalignment='right' if at_right else 'left',
            verticalalignment='bottom' if upper > 0.05 * height else 'top',
            bbox=dict(facecolor=colour, edgecolor='none', alpha=0.7, pad=0.8),
            clip_on=True,
            parse_math=False,
        )


def class_colour(label: int) -> tuple[float, float, float]:
    """Return a bright colour for a class: hues a golden ratio apart, so that neighbours differ."""
    red, green, blue = hsv_to_rgb(((0.3 + 0.618034 * label) % 1, 0.75, 1.0))
    return float(red), float(green), float(blue)
