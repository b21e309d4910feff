"""Check that a path is a file: opening a FIFO or a device may wait or read for ever."""

import os
import stat
from pathlib import Path

from mmmuse.errors import InputError

NOT_FOUND = 'file not found'


def why_no_file(path: str | Path) -> str | None:
    """Return why a path is not a file that can be opened; None if it is one."""
    try:
        mode = os.stat(path).st_mode
    except (FileNotFoundError, NotADirectoryError):
        return NOT_FOUND
    except (OSError, ValueError) as error:  # A loop of links, a name with a null character.
        return getattr(error, 'strerror', None) or str(error)
    if stat.S_ISREG(mode):
        return None
    return 'it is a folder' if stat.S_ISDIR(mode) else 'it is a FIFO, a device or a socket'


def check_regular_file(path: str | Path, what: str) -> None:
    """Check that a file exists and is one.

    Args:
        path: Of the file.
        what: It is, for the message: ``'checkpoint file'``.

    Raises:
        InputError: If it does not exist, or is a folder, a FIFO, a device or a socket.
    """
    why = why_no_file(path)
    if why is not None:
        raise InputError(f'no {what} {path}' + ('' if why == NOT_FOUND else f': {why}'))
