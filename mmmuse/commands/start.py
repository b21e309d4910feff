"""The start of a command: checks that need no library, then the imports."""

import argparse
import sys
from importlib import import_module

from mmmuse.command_line.progress import shown
from mmmuse.errors import InputError

from .early_checks import check_early
from .parsers.shared import parsed_options


def start(command: str, module: str, args: argparse.Namespace) -> None:
    """Check what can be checked at once, import the libraries and run a command.

    Args:
        command: Its name.
        module: With its function ``main``.
        args: Its parsed arguments.
    """
    try:
        check_early(command, args)
        with shown('loading the libraries'):
            if not args.verbose:
                from mmmuse.command_line.noise import silence_start_up

                silence_start_up()
            if getattr(args, 'cfg_options', None):
                args.cfg_options = parsed_options(args.cfg_options)
            run = import_module(module).main
    except InputError as error:
        print(f'error: {error}', file=sys.stderr)
        sys.exit(1)
    except KeyboardInterrupt:
        print('\ninterrupted', file=sys.stderr)
        sys.exit(130)
    run(args)
