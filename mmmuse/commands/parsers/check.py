"""Check what is installed, and say what to do where it does not suffice.

Prints the versions, which of the OpenMMLab libraries are the maintained forks, whether they can be
imported, whether torch and torchvision fit, and the GPUs. Exits with 1 where no command can run.
"""

import argparse


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument('--json', action='store_true', help='print the findings as JSON')
