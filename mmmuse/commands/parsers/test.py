"""Evaluate a checkpoint."""

import argparse

from .shared import add_run_flags


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument('config', help='config file, of the plain network or the distilled one')
    parser.add_argument('checkpoint', help='checkpoint file')
    parser.add_argument('--out', help='file for the results')
    parser.add_argument(
        '--out-item', choices=['metrics', 'pred'], help='content of --out; predictions by default'
    )
    parser.add_argument(
        '--tta',
        action='store_true',
        help='test-time augmentation: tta_model and tta_pipeline of the config, or mirror images',
    )
    add_run_flags(parser)
