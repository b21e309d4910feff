"""The command ``mmmuse completion``."""

import argparse
import sys

from mmmuse.environment.install import install_command

from . import mmmuse_parser


def main(args: argparse.Namespace) -> None:
    try:
        import shtab
    except ImportError:
        print(f'error: completion needs shtab: {install_command("completion")}', file=sys.stderr)
        sys.exit(1)
    print(shtab.complete(mmmuse_parser(), shell=args.shell))
