"""The lock of a run: one process trains it at a time, and others can see which."""

import fcntl
import json
import os
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

# A process that looks at a lock holds it for a moment.
_SECONDS = 5.0


@contextmanager
def run_lock(path: Path) -> Iterator[int | None]:
    """Lock a file, whose folder exists.

    A process that inherits the descriptor holds the lock, too, until it ends.

    Args:
        path: Of the file, which is kept.

    Yields:
        The descriptor; None if another process holds the lock.
    """
    with path.open('a', encoding='utf-8') as file:
        yield file.fileno() if _acquired(file.fileno()) else None


def _acquired(descriptor: int) -> bool:
    end = time.monotonic() + _SECONDS
    while True:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if time.monotonic() > end:
                return False
            time.sleep(0.05)
        except OSError:  # A file system without locks.
            return True
        else:
            return True


def note_holder(descriptor: int, **facts: str | int) -> None:
    """Write into a locked file who holds it: this machine, this process and other facts."""
    content = {'host': socket.gethostname(), 'pid': os.getpid(), **facts}
    os.ftruncate(descriptor, 0)
    os.write(descriptor, json.dumps(content).encode())


def holder(path: Path) -> dict[str, str | int] | None:
    """Return what the holder of a lock has noted; None if no process holds it."""
    if not path.is_file():
        return None
    with path.open('r', encoding='utf-8', errors='replace') as file:
        try:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            return _facts(file.read())
        except OSError:  # A file system without locks.
            return None
    return None


def _facts(text: str) -> dict[str, str | int]:
    """Read what :func:`note_holder` wrote, or a part of it."""
    try:
        content = json.loads(text)
    except (ValueError, RecursionError):
        return {}
    facts = content if isinstance(content, dict) else {}
    return {key: value for key, value in facts.items() if isinstance(value, (str, int))}
