"""Distil a small network on scikit-learn's digits, and train its baseline for comparison.

Trains ``configs/demo/resnet18_digits.py`` and ``..._mi_x_si.py``, prints the accuracy of every
exit and of the baseline, prints the last MI losses beside that of an untrained critic, and draws
the MI and SI curves.
"""

import argparse
from pathlib import Path


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument('--work-dir', type=Path, default=Path('work_dirs/demo'))
    parser.add_argument('--epochs', type=int, help='epochs of each run; 50 by default')
