"""List the accuracy and cost of every exit of a classifier, and choose the smallest one that is good enough.

Good enough means at least the accuracy of a given baseline, as in table 3 of the paper, or at most
a given loss against the full network. Writes ``exits.csv`` and ``exits.png``: accuracy against
multiply-adds and against measured latency.
"""

import argparse
from pathlib import Path

from .shared import add_exit_flags


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument('config', help='config of the distilled classifier')
    parser.add_argument('checkpoint', help='checkpoint of its training')
    rule = parser.add_mutually_exclusive_group(required=True)
    rule.add_argument(
        '--baseline', type=float, metavar='TOP1', help='at least this accuracy, in percent'
    )
    rule.add_argument(
        '--max-loss',
        type=float,
        metavar='POINTS',
        help='at most so many points less than the full network',
    )
    parser.add_argument(
        '--by',
        choices=['macs', 'latency', 'params'],
        default='macs',
        help='what makes an exit the smallest: multiply-adds (default), measured time, parameters',
    )
    parser.add_argument('--out', type=Path, required=True, help='folder for CSV and PNG')
    parser.add_argument('--data', metavar='ROOT', help="in place of the config's data_root")
    parser.add_argument('--batch-size', type=int, default=1, help='images per call in the latency')
    parser.add_argument('--trust-checkpoint', action='store_true', help='load more than weights')
    add_exit_flags(parser)
