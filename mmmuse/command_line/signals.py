"""Signals that stop a command: each ends it as Ctrl-C does."""

import signal
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from mmmuse.errors import Stopped

# Ctrl-C, kill or a preempted machine, a closed terminal (which Windows does not have).
ENDING = tuple(
    getattr(signal, name) for name in ('SIGINT', 'SIGTERM', 'SIGHUP') if hasattr(signal, name)
)


def stop(number: int, frame: object = None) -> None:
    """Handle a signal.

    Raises:
        Stopped: Always.
    """
    raise Stopped(number)


@contextmanager
def stopped_by_signals(numbers: Sequence[int] = ENDING) -> Iterator[None]:
    """Let signals raise :class:`mmmuse.errors.Stopped`, except those that the caller ignores.

    Only the main thread receives signals; in others this does nothing.

    Args:
        numbers: The signals.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    default = (signal.SIG_DFL, signal.default_int_handler)
    changed = {number: signal.getsignal(number) for number in numbers}
    changed = {number: before for number, before in changed.items() if before in default}
    for number in changed:
        signal.signal(number, stop)
    try:
        yield
    finally:
        for number, before in changed.items():
            signal.signal(number, before)
