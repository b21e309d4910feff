"""Lines in the log file of a run that are not printed: its command, its machine, the error that ended it."""

import logging
from collections.abc import Iterator
from contextlib import contextmanager

from mmengine.device import get_device

from mmmuse.analysis.run_log import COMMAND, HARDWARE

from .explain import explanation
from .report import hardware, this_command


def note_start(logger: logging.Logger) -> None:
    """Write the command of this process and the machine into the log file."""
    _note(logger, logging.INFO, COMMAND + this_command())
    _note(logger, logging.INFO, HARDWARE + hardware(get_device()))


@contextmanager
def errors_noted(logger: logging.Logger) -> Iterator[None]:
    """Write an error into the log file, in the words in which it is printed, and pass it on."""
    try:
        yield
    except KeyboardInterrupt:
        _note(logger, logging.ERROR, 'interrupted')
        raise
    except Exception as error:
        line = explanation(error) or ' '.join(f'{type(error).__name__}: {error}'.split())
        _note(logger, logging.ERROR, line)
        raise


def _note(logger: logging.Logger, level: int, text: str) -> None:
    record = logger.makeRecord(logger.name, level, '', 0, text, (), None)
    for handler in logger.handlers:
        if isinstance(handler, logging.FileHandler):
            handler.handle(record)
