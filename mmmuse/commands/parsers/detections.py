"""Draw what a detector or a segmenter and its exits find.

One picture for each image: ground truth, the network and each exit side by side, as boxes or as masks. Images are the
first of the config's data, or given files, which have no ground truth.
"""

import argparse
from pathlib import Path

from .shared import add_config_options


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument('config', help='config of a detector or a segmenter, plain or distilled')
    parser.add_argument('checkpoint', help='checkpoint of its training')
    parser.add_argument('--out', type=Path, required=True, help='folder for the pictures')
    images = parser.add_mutually_exclusive_group()
    images.add_argument('--images', type=int, default=8, help='how many of the data (default 8)')
    images.add_argument('--image-files', nargs='+', help='images in place of the data')
    parser.add_argument(
        '--split', choices=['val', 'test'], default='val', help='data, and pipeline (default val)'
    )
    parser.add_argument(
        '--score',
        type=float,
        default=0.3,
        help='of a detector: boxes of lower scores are omitted (default 0.3)',
    )
    parser.add_argument('--trust-checkpoint', action='store_true', help='load more than weights')
    add_config_options(parser, 'val_dataloader.dataset.data_root=data/coco')
