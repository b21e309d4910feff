"""Progress of long work, on stderr: a bar in a terminal, else a line every so often."""

import sys
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import TypeVar

Item = TypeVar('Item')

INTERVAL = 15.0  # Seconds between two lines where there is no terminal.
_shown: list['Work'] = []  # What is on the screen.


class Work:
    """Work of a known or unknown number of steps.

    Args:
        what: Description of the work, for the user.
        total: Number of steps; None if it is not known.
    """

    def __init__(self, what: str, total: int | None = None) -> None:
        self.what = what
        self.total = total
        self.done = 0
        self.started = time.monotonic()
        self.changed: Callable[[], None] = lambda: None

    def advance(self, steps: int = 1) -> None:
        """Count finished steps."""
        self.report(self.done + steps, self.total)

    def report(self, done: int, total: int | None) -> None:
        """Set the number of finished steps, and of all."""
        self.done, self.total = done, total
        self.changed()

    def __str__(self) -> str:
        """One line: what is done, steps, and the time that is left or has passed."""
        passed = time.monotonic() - self.started
        if not self.total:
            return f'{self.what}: {duration(passed)}'
        return f'{self.what}: {steps(self.done, self.total, passed)}'


@contextmanager
def shown(what: str, total: int | None = None) -> Iterator[Work]:
    """Show work while it lasts.

    In a terminal (or with ``FORCE_COLOR=1``, as Rich reads it) a bar, which disappears. Elsewhere a line
    every 15 seconds, so that short work writes none. Standard output is never written to. Work inside
    other work is not shown.

    Args:
        what: Description of the work, for the user.
        total: Number of steps; None if it is not known.
    """
    work = Work(what, total)
    if _shown:
        yield work
        return
    from rich.console import Console  # Here: commands check paths before they import a library.

    from .progress_bar import bar

    console = Console(stderr=True)
    _shown.append(work)
    try:
        with bar(work, console) if console.is_terminal else _lines(work):
            yield work
    finally:
        _shown.pop()


def tracked(items: Iterable[Item], what: str, total: int | None = None) -> Iterator[Item]:
    """Iterate while showing how many items are done.

    Args:
        items: To iterate over.
        what: Description of the work, for the user.
        total: Their number; that of ``items`` by default, if it has one.
    """
    if total is None and hasattr(items, '__len__'):
        total = len(items)
    with shown(what, total) as work:
        for item in items:
            yield item
            work.advance()


def tracker(what: str) -> Callable[[Iterable[Item]], Iterator[Item]]:
    """Return :func:`tracked` for this work, to pass to a function that iterates."""
    return lambda items: tracked(items, what)


@contextmanager
def _lines(work: Work) -> Iterator[None]:
    ended = threading.Event()

    def write() -> None:
        while not ended.wait(INTERVAL):
            print(work, file=sys.stderr, flush=True)

    thread = threading.Thread(target=write, daemon=True)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()


def steps(done: int, total: int, seconds: float) -> str:
    """Return in words how many steps are done, and how much time is left.

    Args:
        done: Finished steps.
        total: All steps.
        seconds: That the finished ones took.
    """
    line = f'{done} of {total}'
    if done:
        line += f', about {duration(seconds / done * (total - done))} left'
    return line


def duration(seconds: float) -> str:
    """Return a time as ``H:MM:SS``."""
    return str(timedelta(seconds=round(seconds)))
