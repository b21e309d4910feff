"""User-facing errors: one line on stderr and a nonzero exit."""

import os
import re
import sys
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from pickle import UnpicklingError

from mmengine.config.utils import ConfigParsingError

from mmmuse.errors import TRACEBACK_VARIABLE, MMMuseError

from .config_errors import config_explanation, config_of_run
from .library_errors import library_explanation, library_failure
from .signals import received, stopped_by_signals, stopping_signal
from .write_errors import NOT_WRITTEN

_IN_WORKER = re.compile(r'Caught (?:\w+\.)*InputError in DataLoader worker.*InputError: (.*)')
# Packages that only some parts need, by the name of their module.
_OPTIONAL = {'sklearn': 'scikit-learn', 'pycocotools': 'pycocotools', 'matplotlib': 'matplotlib'}


def explanation(error: BaseException) -> str | None:
    """Return one line for an error caused by bad input; None for any other."""
    # str() of a KeyError is the repr of its message.
    text = error.args[0] if isinstance(error, KeyError) and error.args else error
    message = ' '.join(str(text).split())
    if isinstance(error, (MMMuseError, ConfigParsingError)):
        in_worker = _IN_WORKER.search(message)
        return in_worker[1] if in_worker else message
    if isinstance(error, ModuleNotFoundError) and error.name in _OPTIONAL:
        package = _OPTIONAL[error.name]
        return f'this needs the package {package}, which is not installed: pip install {package}'
    if isinstance(error, FileNotFoundError):
        return f'no such file: {error.filename}' if error.filename else message
    if isinstance(error, UnpicklingError):
        return (
            'a checkpoint holds more than weights, and loading it could run code; if you '
            'trust its source, pass --trust-checkpoint'
        )
    if isinstance(error, (FileExistsError, NotADirectoryError, IsADirectoryError, PermissionError)):
        return f'cannot use {error.filename}: {error.strerror}'
    if isinstance(error, OSError) and error.errno in NOT_WRITTEN:
        return f'cannot write {error.filename or _unnamed_file(error)}: {error.strerror}'
    if isinstance(error, RuntimeError) and 'inline_container.cc' in message:
        return 'cannot write a file: PyTorch could not write all of it, as when the disk is full'
    if isinstance(error, SyntaxError) and error.filename:
        return f'{error.filename}, line {error.lineno}: {error.msg}'
    if isinstance(error, ValueError) and 'Expected more than 1 value per channel' in message:
        return 'a batch of one image cannot be normalised over the batch: set drop_last=True'
    if isinstance(error, RuntimeError) and 'Expected to have finished reduction' in message:
        return (
            'a parameter got no gradient in a step, which several processes have to look for: phases, '
            'and losses with epochs or iters, need find_unused_parameters=True in the config'
        )
    if isinstance(error, AssertionError) and 'AmpOptimizerWrapper' in message:
        return (
            'AmpOptimWrapper needs a GPU; pass --amp, or set '
            "optim_wrapper.type='mmmuse.BFloat16OptimWrapper'"
        )
    return config_explanation(error, message) or library_explanation(error)


def _unnamed_file(error: OSError) -> str:
    """Return which file an error of a disk without a name is about, as far as it is known."""
    config = config_of_run(error)
    work_dir = None if config is None else config.get('work_dir')
    return f'a file in {work_dir}' if work_dir else 'a file'


@contextmanager
def explained(on_interrupt: str = 'interrupted') -> Iterator[None]:
    """Exit with 1 and one line on bad input or an error of a library; other errors propagate.

    Ctrl-C, SIGTERM and SIGHUP exit with 128 and the number of the signal: 130, 143, 129.

    With ``MMMUSE_TRACEBACK=1`` in the environment the traceback is printed before the line.

    Args:
        on_interrupt: Message on these signals.
    """
    try:
        with stopped_by_signals():
            yield
    except (KeyboardInterrupt, Exception) as error:
        number = received() or stopping_signal(error)
        if number is not None:
            print(f'\n{on_interrupt}', file=sys.stderr)
            sys.exit(128 + number)
        line = explanation(error) or library_failure(error)
        if line is None:
            raise
        if os.environ.get(TRACEBACK_VARIABLE, '0') not in ('', '0'):
            traceback.print_exception(error)
        print(f'error: {line}', file=sys.stderr)
        sys.exit(1)
