"""Write a report of a run: one HTML file, which can be sent and opened without a network.

Settings, accuracy of every exit by epoch and against cost, the chosen exit, MI and SI curves, the
ratio of the gradients, early exit and detections where they were measured, command and environment.
Figures come from the run's files; checkpoints are opened for ``--pictures`` only.
"""

import argparse
from pathlib import Path


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument('work_dir', type=Path, help='work dir of the run')
    parser.add_argument(
        '--out', type=Path, help='HTML file to write, WORK_DIR/report.html by default'
    )
    baseline = parser.add_mutually_exclusive_group()
    baseline.add_argument(
        '--baseline',
        type=float,
        metavar='TOP1',
        help='accuracy of a baseline, in the unit of the run: percent for classifiers',
    )
    baseline.add_argument(
        '--baseline-dir',
        type=Path,
        metavar='WORK_DIR',
        help='work dir of the run of a baseline, whose last evaluation is taken',
    )
    parser.add_argument(
        '--max-loss',
        type=float,
        metavar='POINTS',
        help='the chosen exit may lose so many percentage points against the full network, instead '
        'of having to reach the baseline; 1 where there is no baseline',
    )
    parser.add_argument(
        '--early-exit',
        type=Path,
        metavar='DIR',
        help='folder of mmmuse early-exit; by default one in the work dir',
    )
    pictures = parser.add_mutually_exclusive_group()
    pictures.add_argument(
        '--detections',
        type=Path,
        metavar='DIR',
        help='folder of mmmuse detections; by default WORK_DIR/detections',
    )
    pictures.add_argument(
        '--pictures', type=int, metavar='N', help='draw the detections in N images of the data'
    )
    parser.add_argument(
        '--checkpoint', help='for --pictures; by default the last one of the work dir'
    )
    parser.add_argument(
        '--score', type=float, default=0.3, help='of --pictures: boxes of lower scores are omitted'
    )
    parser.add_argument('--trust-checkpoint', action='store_true', help='load more than weights')
