"""The start of a command: checks that need no library, then the imports."""

import argparse
import os
import sys
import traceback
from collections.abc import Callable
from importlib import import_module

from mmmuse.command_line.progress import shown
from mmmuse.command_line.quick_imports import quick_imports
from mmmuse.environment.import_errors import import_explanation
from mmmuse.environment.requirements import check_environment
from mmmuse.errors import TRACEBACK_VARIABLE, InputError

from .early_checks import check_early


def start(command: str, module: str, args: argparse.Namespace, needs_libraries: bool) -> None:
    """Check what can be checked at once, import the libraries and run a command.

    Args:
        command: Its name.
        module: With its function ``main``.
        args: Its parsed arguments.
        needs_libraries: Whether it runs only where the OpenMMLab libraries are installed.
    """
    try:
        if needs_libraries:
            check_environment()
            check_early(command, args)
            run = _loaded(module, args)
        else:
            run = import_module(module).main
    except InputError as error:
        print(f'error: {error}', file=sys.stderr)
        sys.exit(1)
    except KeyboardInterrupt:
        print('\ninterrupted', file=sys.stderr)
        sys.exit(130)
    run(args)


def _loaded(module: str, args: argparse.Namespace) -> Callable[[argparse.Namespace], None]:
    """Import the libraries and a command's module, and read the options of its config.

    Raises:
        InputError: If the import shows that the environment is incomplete.
    """
    try:
        with shown('loading the libraries'), quick_imports():
            if not args.verbose:
                from mmmuse.command_line.noise import silence_start_up

                silence_start_up()
            if getattr(args, 'cfg_options', None):
                from mmmuse.command_line.option_values import parsed_options

                args.cfg_options = parsed_options(args.cfg_options)
            return import_module(module).main
    except InputError:
        raise
    except Exception as error:
        line = import_explanation(error)
        if line is None:
            raise
        if os.environ.get(TRACEBACK_VARIABLE, '0') not in ('', '0'):
            traceback.print_exception(error)
        raise InputError(line) from error
