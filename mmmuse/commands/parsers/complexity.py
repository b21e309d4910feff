"""List the cost of every exit, without a checkpoint.

A row per exit: parameters and multiply-adds by MMEngine's analysis, and as counted in table 3 of
the paper: of the convolutions of the backbone only, as if they were in one sequence.
"""

import argparse

from .shared import add_exit_flags


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument('config', help='config of a distilled network')
    parser.add_argument('--json', help='file for the figures')
    add_exit_flags(parser)
