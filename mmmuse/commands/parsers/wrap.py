"""Write a distilled config for a plain one.

Runs the model once on a blank image, proposes where to cut the network, prints the modules of the cut and
those beside it, and writes a short config that inherits from CONFIG. ``mmmuse train`` accepts what is written.
"""

import argparse
from pathlib import Path


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        'config',
        help='a config file, or mmpretrain::folder/file.py, mmdet::folder/file.py, mmseg::folder/file.py',
    )
    parser.add_argument(
        '--variant',
        metavar='NAME',
        help='named head: mi_x_si (default; mi_x_si_alone without class logits), mi_plus_si, byot, '
        'ce_kd, ... An unknown name lists all.',
    )
    parser.add_argument(
        '--teacher',
        metavar='NAME_OR_CONFIG',
        help='learn from this network instead: timm::NAME, transformers::NAME_OR_FOLDER, or a config with '
        '--teacher-checkpoint. MUSE from its last feature, and KD where the classes are as many.',
    )
    parser.add_argument(
        '--teacher-checkpoint', metavar='FILE', help="file of the teacher's weights"
    )
    parser.add_argument(
        '--modules',
        type=int,
        default=4,
        metavar='T',
        help='number of modules to cut the network into',
    )
    parser.add_argument(
        '--input-shape',
        type=int,
        nargs=3,
        metavar=('C', 'H', 'W'),
        help="shape of the blank image; by default the size of the config's images",
    )
    parser.add_argument(
        '--unlabelled',
        metavar='FOLDER',
        help="with --teacher: the backbone alone learns the teacher's features from the images in "
        'this folder, without labels (mmmuse.FeatureDistiller)',
    )
    parser.add_argument('--all', action='store_true', help='list every module that can be tapped')
    parser.add_argument('--out', required=True, type=Path, help='the config to write')
