"""Signals that stop a command: each ends it as Ctrl-C does."""

import signal
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from typing import Any

from mmmuse.errors import Stopped

# Ctrl-C, kill or a preempted machine, a closed terminal (which Windows does not have).
ENDING = tuple(
    getattr(signal, name) for name in ('SIGINT', 'SIGTERM', 'SIGHUP') if hasattr(signal, name)
)


# The last signal: its exception may be swallowed, by a bare ``except`` or in a callback of a fork.
_received = [0]
_handled = [False]  # Whether a command is running that stops at a signal.


def received() -> int:
    """Return the number of the signal that arrived in this command, 0 for none."""
    return _received[0]


def stop(number: int, frame: object = None) -> None:
    """Handle a signal.

    Raises:
        Stopped: Always.
    """
    _received[0] = number
    raise Stopped(number)


def stop_if_received() -> None:
    """Stop after a signal whose exception was swallowed, as MMEngine's message hub does.

    Raises:
        Stopped: If a signal arrived.
    """
    if _handled[0] and received():
        raise Stopped(received())


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
    _received[0], _handled[0] = 0, True
    default = (signal.SIG_DFL, signal.default_int_handler)
    changed = {number: signal.getsignal(number) for number in numbers}
    changed = {number: before for number, before in changed.items() if before in default}
    for number in changed:
        signal.signal(number, stop)
    report = sys.unraisablehook
    sys.unraisablehook = partial(_report_unless_stopped, report)
    try:
        yield
    finally:
        _handled[0] = False
        sys.unraisablehook = report
        for number, before in changed.items():
            signal.signal(number, before)


def _report_unless_stopped(report: Callable[[Any], None], unraisable: Any) -> None:
    """Report an exception that Python cannot raise, such as in the callbacks of a fork."""
    if not isinstance(unraisable.exc_value, Stopped):
        report(unraisable)
