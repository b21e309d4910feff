"""The command ``mmmuse detections``."""

import argparse
from collections.abc import Iterator
from itertools import chain
from typing import NamedTuple

from matplotlib.figure import Figure
from mmengine.config import Config

from mmmuse.analysis.pictured_data import class_names, picture_name
from mmmuse.checkpoints.mmengine_loading import refuse_code_in_files
from mmmuse.command_line.config import check_at_least, load_config
from mmmuse.command_line.explain import explained
from mmmuse.command_line.progress import shown, tracked
from mmmuse.command_line.report import check_new_path, new_folder
from mmmuse.datasets.load_checked_image import check_loaded_images
from mmmuse.errors import InputError
from mmmuse.export.trained import (
    load_trained_detector,
    load_trained_segmenter,
    trained_kind,
)

from .early_checks import check_named_in_config


class Picture(NamedTuple):
    """A figure of an image, the image's path, and the titles of its panels."""

    figure: Figure
    path: str
    titles: list[str]


def check_numbers(args: argparse.Namespace) -> None:
    check_at_least(args, images=1)
    if not 0 <= args.score <= 1:
        raise InputError(f'--score is between 0 and 1, got {args.score}')


def pictures_of_boxes(config: Config, args: argparse.Namespace) -> Iterator[Picture]:
    """Draw the boxes of a detector and its exits."""
    # Needs mmdet.
    from mmmuse.analysis.detection_figure import draw_detections, images_of_files, images_of_split

    with shown('building the detector'):
        detector = load_trained_detector(config, args.checkpoint, args.trust_checkpoint)
    classes = class_names(config, args.split, detector)
    if args.image_files:
        images = images_of_files(config, args.split, detector, args.image_files, args.score)
    else:
        images = images_of_split(config, args.split, detector, args.images, args.score)
    for found in images:
        figure = draw_detections(found, classes, f'; scores from {args.score:g}')
        yield Picture(figure, found.path, [panel.title for panel in found.panels])


def pictures_of_masks(config: Config, args: argparse.Namespace) -> Iterator[Picture]:
    """Draw the masks of a segmenter and its exits."""
    from mmmuse.analysis import mask_figure  # Needs mmseg.

    with shown('building the segmenter'):
        segmenter = load_trained_segmenter(config, args.checkpoint, args.trust_checkpoint)
    classes = class_names(config, args.split, segmenter)
    palette = mask_figure.palette_of(config, args.split)
    if args.image_files:
        images = mask_figure.images_of_files(config, args.split, segmenter, args.image_files)
    else:
        images = mask_figure.images_of_split(config, args.split, segmenter, args.images)
    for found in images:
        figure = mask_figure.draw_masks(found, classes, palette)
        yield Picture(figure, found.path, ['image', *(panel.title for panel in found.panels)])


def show(args: argparse.Namespace) -> None:
    config = load_config(args.config, args.cfg_options)
    check_named_in_config('detections', args, config)
    kind = trained_kind(config)
    if kind == 'classifier':
        raise InputError(
            'the config has no detector of mmdet and no segmenter of mmseg: its model is '
            f'{config.get("model", {}).get("type")}'
        )
    draw = pictures_of_masks if kind == 'segmenter' else pictures_of_boxes
    pictures = draw(config, args)
    first = next(pictures)  # What is wrong with the model shows before the folder is made.
    number = len(args.image_files) if args.image_files else args.images
    names: list[str] = []
    with new_folder(args.out) as folder:
        for picture in tracked(chain([first], pictures), 'drawing the pictures', number):
            names.append(picture_name(picture.path, names))
            picture.figure.savefig(folder / names[-1], dpi=150, bbox_inches='tight')
    panels = ', '.join(title.lower() for title in picture.titles)
    print(f'written to {args.out}: {len(names)} picture{"s" * (len(names) != 1)} of {panels}')


def main(args: argparse.Namespace) -> None:
    with explained():
        refuse_code_in_files(args.trust_checkpoint)
        check_loaded_images()
        check_new_path(args.out)
        check_numbers(args)
        show(args)
