"""Store a teacher's outputs for fixed views of the training set.

A run with ``model.teacher_cache=FILE data_preprocessor.fixed_views=V data_preprocessor.seed=S`` then needs
no teacher. With as many views as epochs it is identical to the run with the teacher.
"""

import argparse

from .shared import add_config_options


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument('config', help='config of an offline distiller')
    parser.add_argument('--out', required=True, help='file for the cache')
    parser.add_argument('--views', type=int, default=1, help='views of each image')
    parser.add_argument('--seed', type=int, default=0, help='of the views')
    parser.add_argument('--half', action='store_true', help='store float16')
    parser.add_argument('--device', help='a GPU if there is one, else the CPU')
    parser.add_argument('--trust-checkpoint', action='store_true', help='load more than weights')
    add_config_options(parser, 'train_dataloader.dataset.data_root=data/cifar100')
