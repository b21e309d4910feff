"""Choose thresholds for early exit, and measure accuracy and cost.

For several average costs, thresholds are chosen on every other image of the test set and measured
on the rest: accuracy, multiply-adds, and milliseconds per image with ``EarlyExitClassifier`` run in
batches of ``--batch-size`` (one image by default). For a segmenter it is the mIoU with ``EarlyExitSegmenter``;
windows take their exits where the config cuts images into windows, and multiply-adds are those of the first
image or of a window. Writes ``early_exit.csv``, with unrounded
thresholds, and ``early_exit.png``, for comparison also with each exit as a plain network. The timing
takes longest: about 50 times as long as the full network for ``--latency-images``.
"""

import argparse
from pathlib import Path

from .shared import add_exit_flags


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument('config', help='config of the distilled network')
    parser.add_argument('checkpoint', help='checkpoint of its training')
    parser.add_argument('--out', type=Path, required=True, help='folder for CSV and PNG')
    parser.add_argument(
        '--costs',
        type=float,
        nargs='+',
        metavar='SHARE',
        help="wanted average costs as shares of the full network's multiply-adds; "
        'nine between the first and the last exit by default',
    )
    parser.add_argument(
        '--exits', type=int, nargs='+', help='exits that images may take; all by default'
    )
    parser.add_argument('--data', metavar='ROOT', help="in place of the config's data_root")
    parser.add_argument(
        '--latency-images', type=int, default=64, help='images that are timed (default 64)'
    )
    parser.add_argument(
        '--batch-size', type=int, default=1, help='images per call in the latency (default 1)'
    )
    parser.add_argument('--trust-checkpoint', action='store_true', help='load more than weights')
    add_exit_flags(parser)
