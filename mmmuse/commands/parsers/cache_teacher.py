"""Store a teacher's outputs for fixed views of the training set.

What the config's losses read of the teacher is stored. A run with ``model.teacher_cache=FOLDER
data_preprocessor.fixed_views=V data_preprocessor.seed=S`` then needs no teacher. With as many views as
epochs, and float32, it is identical to the run with the teacher. An interrupted command goes on when it is
started again.
"""

import argparse

from .shared import add_config_options


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument('config', help='config of an offline distiller')
    parser.add_argument('--out', required=True, help='folder for the cache')
    parser.add_argument('--views', type=int, default=1, help='views of each image')
    parser.add_argument('--seed', type=int, default=0, help='of the views')
    parser.add_argument(
        '--features',
        nargs='+',
        default=(),
        metavar='NAME',
        help='stored too, for runs with other losses: logits, vector (the pooled last feature), module3, ...',
    )
    parser.add_argument(
        '--type',
        choices=['auto', 'float16', 'float32'],
        default='auto',
        help='of the stored numbers; auto: float16 for maps and tokens, float32 for logits and vectors',
    )
    parser.add_argument('--device', help='a GPU if there is one, else the CPU')
    parser.add_argument('--trust-checkpoint', action='store_true', help='load more than weights')
    add_config_options(parser, 'train_dataloader.dataset.data_root=data/cifar100')
