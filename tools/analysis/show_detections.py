"""Draw the detections of a detector and its exits: ``show_detections.py CONFIG CHECKPOINT --out DIR``.

One picture for each image: ground truth, the detector and each exit side by side. Images are the
first of the config's data, or given files, which have no ground truth.
"""

import argparse
from pathlib import Path

from mmmuse.analysis.detection_figure import (
    class_names,
    draw_detections,
    images_of_files,
    images_of_split,
    picture_name,
)
from mmmuse.checkpoints.mmengine_loading import refuse_code_in_files
from mmmuse.command_line.config import add_config_options, check_at_least, load_config
from mmmuse.command_line.explain import explained
from mmmuse.command_line.report import check_new_path, new_folder
from mmmuse.datasets.load_checked_image import check_loaded_images
from mmmuse.errors import InputError
from mmmuse.export.trained import load_trained_detector


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument('config', help='config of a detector, plain or distilled')
    parser.add_argument('checkpoint', help='checkpoint of its training')
    parser.add_argument('--out', type=Path, required=True, help='folder for the pictures')
    images = parser.add_mutually_exclusive_group()
    images.add_argument('--images', type=int, default=8, help='how many of the data (default 8)')
    images.add_argument('--image-files', nargs='+', help='images in place of the data')
    parser.add_argument(
        '--split', choices=['val', 'test'], default='val', help='data, and pipeline (default val)'
    )
    parser.add_argument(
        '--score', type=float, default=0.3, help='boxes of lower scores are omitted (default 0.3)'
    )
    parser.add_argument('--trust-checkpoint', action='store_true', help='load more than weights')
    add_config_options(parser, 'val_dataloader.dataset.data_root=data/coco')
    return parser.parse_args()


def check_numbers(args: argparse.Namespace) -> None:
    check_at_least(args, images=1)
    if not 0 <= args.score <= 1:
        raise InputError(f'--score is between 0 and 1, got {args.score}')


def show(args: argparse.Namespace) -> None:
    config = load_config(args.config, args.cfg_options)
    detector = load_trained_detector(config, args.checkpoint, args.trust_checkpoint)
    classes = class_names(config, args.split, detector)
    if args.image_files:
        images = images_of_files(config, args.split, detector, args.image_files, args.score)
    else:
        images = images_of_split(config, args.split, detector, args.images, args.score)
    names: list[str] = []
    with new_folder(args.out) as folder:
        for detections in images:
            names.append(picture_name(detections.path, names))
            figure = draw_detections(detections, classes, f'; scores from {args.score:g}')
            figure.savefig(folder / names[-1], dpi=150, bbox_inches='tight')
    shown = ', '.join(panel.title.lower() for panel in detections.panels)
    print(f'written to {args.out}: {len(names)} picture{"s" * (len(names) != 1)} of {shown}')


def main() -> None:
    args = parse_args()
    with explained():
        refuse_code_in_files(args.trust_checkpoint)
        check_loaded_images()
        check_new_path(args.out)
        check_numbers(args)
        show(args)


if __name__ == '__main__':
    main()
