"""Convert a checkpoint of RepDistiller to OpenMMLab's names.

Its files are published by "Contrastive Representation Distillation" (Tian et al., ICLR 2020; https://github.com/HobbitLong/RepDistiller).
The output loads with the config that the command prints, for testing or as a teacher.
"""

import argparse
from pathlib import Path


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument('source', help='a checkpoint of RepDistiller, e.g. ckpt_epoch_240.pth')
    parser.add_argument('out', type=Path, help='the checkpoint to write; it must not exist')
    parser.add_argument(
        '--network', required=True, help='its network, e.g. resnet56; an unknown name lists all'
    )
    parser.add_argument(
        '--trust-checkpoint',
        action='store_true',
        help='load a file that holds more than weights; it may run code',
    )
