"""The command ``mmmuse detections``."""

import argparse

from mmmuse.analysis.detection_figure import (
    class_names,
    draw_detections,
    images_of_files,
    images_of_split,
    picture_name,
)
from mmmuse.checkpoints.mmengine_loading import refuse_code_in_files
from mmmuse.command_line.config import check_at_least, load_config
from mmmuse.command_line.explain import explained
from mmmuse.command_line.progress import shown, tracked
from mmmuse.command_line.report import check_new_path, new_folder
from mmmuse.datasets.load_checked_image import check_loaded_images
from mmmuse.errors import InputError
from mmmuse.export.trained import load_trained_detector

from .early_checks import check_named_in_config


def check_numbers(args: argparse.Namespace) -> None:
    check_at_least(args, images=1)
    if not 0 <= args.score <= 1:
        raise InputError(f'--score is between 0 and 1, got {args.score}')


def show(args: argparse.Namespace) -> None:
    config = load_config(args.config, args.cfg_options)
    check_named_in_config('detections', args, config)
    with shown('building the detector'):
        detector = load_trained_detector(config, args.checkpoint, args.trust_checkpoint)
    classes = class_names(config, args.split, detector)
    if args.image_files:
        images = images_of_files(config, args.split, detector, args.image_files, args.score)
    else:
        images = images_of_split(config, args.split, detector, args.images, args.score)
    number = len(args.image_files) if args.image_files else args.images
    names: list[str] = []
    with new_folder(args.out) as folder:
        for detections in tracked(images, 'drawing the pictures', number):
            names.append(picture_name(detections.path, names))
            figure = draw_detections(detections, classes, f'; scores from {args.score:g}')
            figure.savefig(folder / names[-1], dpi=150, bbox_inches='tight')
    panels = ', '.join(panel.title.lower() for panel in detections.panels)
    print(f'written to {args.out}: {len(names)} picture{"s" * (len(names) != 1)} of {panels}')


def main(args: argparse.Namespace) -> None:
    with explained():
        refuse_code_in_files(args.trust_checkpoint)
        check_loaded_images()
        check_new_path(args.out)
        check_numbers(args)
        show(args)
