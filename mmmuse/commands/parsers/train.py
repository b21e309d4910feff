"""Train a model."""

import argparse

from .shared import add_run_flags


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument('config', help='config file, or mmmuse::folder/file.py')
    parser.add_argument(
        '--resume',
        nargs='?',
        const='auto',
        help='resume from a checkpoint, by default the latest of the last run in the work dir',
    )
    parser.add_argument('--no-validate', action='store_true', help='do not evaluate while training')
    parser.add_argument(
        '--auto-scale-lr', action='store_true', help='scale the learning rate with the batch size'
    )
    parser.add_argument(
        '--preemptible',
        action='store_true',
        help='when a signal stops the run, save the step first; --resume goes on within the epoch',
    )
    add_run_flags(parser)
