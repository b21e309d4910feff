"""Measure how well anchors fit a data set, and propose better ones.

The check of YOLOv5's AutoAnchor: a box matches an anchor if their sides differ by less than a factor.
Boxes are read from the annotation files, without the images, and scaled to the training size.
"""

import argparse

from .shared import add_config_options

DEFAULT_IMAGE_SIZE = 640


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument('config', help='config of a detector with anchors, or of its distiller')
    parser.add_argument('--ann-file', help="COCO annotations in place of the config's")
    parser.add_argument(
        '--img-size',
        type=int,
        help='longer side of an image in training; read from the pipeline by default, '
        f'else {DEFAULT_IMAGE_SIZE}',
    )
    parser.add_argument('--num-anchors', type=int, help='to propose; as many as now by default')
    parser.add_argument('--generations', type=int, default=1000, help='of the refinement')
    parser.add_argument('--seed', type=int, default=0, help='of the proposal')
    parser.add_argument(
        '--threshold', type=float, default=4.0, help='factor up to which sides match'
    )
    parser.add_argument('--json', help='file for the figures')
    add_config_options(parser, 'train_dataloader.dataset.data_root=data/coco')
