"""Signals that wait until a job has been submitted."""

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager

from mmmuse.command_line.signals import ENDING

_TERMINAL = (signal.SIGINT, signal.SIGHUP)  # Sent to all processes of a terminal.


@contextmanager
def signals_later() -> Iterator[None]:
    """Handle signals when the block has ended.

    A process that is started in it does not receive those of a terminal. Only the main thread receives
    signals; in others this does nothing.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    received: list[int] = []
    handlers = {
        number: signal.signal(number, lambda number, frame: received.append(number))
        for number in ENDING
    }
    mask = signal.pthread_sigmask(signal.SIG_BLOCK, _TERMINAL)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, mask)
        for number, handler in handlers.items():
            signal.signal(number, handler)
        for number in received[:1]:
            signal.raise_signal(number)
