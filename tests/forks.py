"""Commands in a fork of this process, which has imported the libraries: a start of Python imports them for seconds.

A test of what a command does takes a fork; a test of imports, of the interpreter's flags or of an
environment without a package takes a start of Python.
"""

import atexit
import multiprocessing
import multiprocessing.util
import os
import random
import signal
import sys
import traceback
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np

ROOT = Path(__file__).resolve().parents[1]
_OF_PYTHON = {signal.SIGINT: signal.default_int_handler, signal.SIGPIPE: signal.SIG_IGN}


class Fork(multiprocessing.get_context('fork').Process):
    """Calls a function as a program that Python has just started, with descriptors, signals and an exit code of its own.

    As with every process of multiprocessing, ``exitcode`` is negative after a signal.

    Args:
        function: Returns the exit code or None, or raises ``SystemExit``.
        out: Descriptor for stdout.
        err: Descriptor for stderr.
        folder: The working folder.
        environment: All of its variables; by default those of this process.
    """

    def __init__(
        self,
        function: Callable[[], int | None],
        out: int,
        err: int,
        folder: str | Path = ROOT,
        environment: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(target=self._called, args=(function, out, err))
        self._folder, self._variables = folder, environment

    def _called(self, function: Callable[[], int | None], out: int, err: int) -> None:
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGPIPE):
            signal.signal(number, _OF_PYTHON.get(number, signal.SIG_DFL))
        signal.pthread_sigmask(signal.SIG_SETMASK, ())
        os.chdir(self._folder)
        if self._variables is not None:
            os.environ.clear()
            os.environ.update(self._variables)
        os.dup2(out, 1)
        os.dup2(err, 2)
        sys.stdout = os.fdopen(1, 'w', encoding='utf-8', closefd=False)
        sys.stderr = os.fdopen(2, 'w', 1, encoding='utf-8', closefd=False)
        sys.unraisablehook = sys.__unraisablehook__
        random.seed()
        np.random.seed()
        os._exit(_exit_code(function))


def _exit_code(function: Callable[[], int | None]) -> int:
    """Call a function, and end as Python does: with a traceback, and with what is not yet written."""
    try:
        code = function() or 0
    except SystemExit as stop:
        code = stop.code or 0
    except BaseException:
        traceback.print_exc()
        code = 1
    if not isinstance(code, int):
        print(code, file=sys.stderr)
        code = 1
    # The workers of data loaders. An error here, such as that of a worker which a signal has ended, is only reported.
    atexit._clear()
    atexit.register(multiprocessing.util._exit_function)
    atexit._run_exitfuncs()
    try:
        sys.stdout.flush()
    except OSError as error:
        print(f'Exception ignored in: {sys.stdout!r}\n{error!r}', file=sys.stderr)
        code = 120
    return code


def mmmuse(*arguments: object) -> Callable[[], None]:
    """Return what ``mmmuse ARGUMENTS`` does, for a :class:`Fork`."""

    def command() -> None:
        from mmmuse.commands import main

        from .test_tools.conftest import _forget_runs

        _forget_runs()
        sys.argv = ['mmmuse', *map(str, arguments)]
        main(arguments=sys.argv[1:])

    return command
