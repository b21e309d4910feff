"""The lock of a run: one process trains it at a time, and others can see which."""

import fcntl
import json
import os
import socket
import time
from collections.abc import Iterator, Mapping
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
    """Write into a locked file who holds it: this machine, this process and other facts.

    Of the facts, ``process`` is the number of another process that holds it.
    """
    content = {'host': socket.gethostname(), 'pid': os.getpid(), **facts}
    for name in ('pid', 'process'):
        start = _start_of(content[name]) if name in content else None
        if start is not None:
            content[f'{name}_started'] = start
    os.ftruncate(descriptor, 0)
    os.write(descriptor, json.dumps(content).encode())


def process_of(facts: Mapping[str, str | int] | None, name: str) -> int | None:
    """Return the number of a process of this machine that a holder has noted, if it is still that process.

    Args:
        facts: Of :func:`holder`.
        name: ``'pid'`` or ``'process'``.
    """
    number = (facts or {}).get(name)
    if not isinstance(number, int) or number <= 1 or not _is_alive(number):
        return None
    # The system gives the number of a process that has ended to another one.
    noted, start = facts.get(f'{name}_started'), _start_of(number)
    return number if noted is None or start is None or noted == start else None


def _is_alive(process: int) -> bool:
    try:
        os.kill(process, 0)
    except (OSError, OverflowError):  # Not there, or of another user: not one of ours.
        return False
    return True


def _start_of(process: int) -> int | None:
    """Return when a process started, in ticks since the system did; None if it is not known."""
    try:
        fields = Path(f'/proc/{process}/stat').read_text(encoding='utf-8', errors='replace')
    except OSError:
        return None
    # The second field, the name of the program, may hold anything.
    return int(fields.rpartition(')')[2].split()[19])


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
