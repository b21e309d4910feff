"""Signals that stop a command: each ends it as Ctrl-C does."""

import os
import re
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

# A signal to the whole process group may reach the workers of a data loader first.
_STOPPED_WORKER = re.compile(r'killed by signal: (Terminated|Hangup|Interrupt)\b')
_STOPPING = {'Terminated': 15, 'Hangup': 1, 'Interrupt': 2}

# The last signal: its exception may be swallowed, by a bare ``except`` or in a callback of a fork.
_received = [0]
_handled = [False]  # Whether a command is running that stops at a signal.
_process = [0]  # The process of that command; its forks inherit the handlers.


def received() -> int:
    """Return the number of the signal that arrived in this command, 0 for none."""
    return _received[0]


def stop(number: int, frame: object = None) -> None:
    """Handle a signal.

    A fork, such as a data loader's worker, prints nothing: SIGTERM ends it, and of the others, which a
    terminal sends to the whole group, it leaves the handling to the command, which ends it.

    Raises:
        Stopped: In the process of the command.
    """
    if os.getpid() != _process[0]:
        if number == signal.SIGTERM:
            signal.signal(number, signal.SIG_DFL)
            os.kill(os.getpid(), number)
        return
    _received[0] = number
    raise Stopped(number)


def stopping_signal(error: BaseException | None) -> int | None:
    """Return the signal that caused an error, if any: an interrupted torch.save raises another one."""
    while error is not None:
        if isinstance(error, KeyboardInterrupt):
            return getattr(error, 'number', 2)
        if stopped := _STOPPED_WORKER.search(str(error)):
            return _STOPPING[stopped[1]]
        error = error.__context__
    return None


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
    _received[0], _handled[0], _process[0] = 0, True, os.getpid()
    default = (signal.SIG_DFL, signal.default_int_handler)
    changed = {number: signal.getsignal(number) for number in numbers}
    changed = {number: before for number, before in changed.items() if before in default}
    for number in changed:
        signal.signal(number, stop)
    report = sys.unraisablehook
    if isinstance(report, partial) and report.func is _report_unless_stopped:
        report = report.args[0]
    sys.unraisablehook = partial(_report_unless_stopped, report)
    try:
        yield
    except BaseException as error:
        # Handlers of others, as PreemptionHook's, note no signal.
        _received[0] = received() or stopping_signal(error) or 0
        raise
    finally:
        _handled[0] = False
        if not received():  # After a signal, what was half built is freed while Python ends.
            sys.unraisablehook = report
        for number, before in changed.items():
            signal.signal(number, before)


def _report_unless_stopped(report: Callable[[Any], None], unraisable: Any) -> None:
    """Report an exception that Python cannot raise, unless a signal has stopped the command."""
    if not received() and stopping_signal(unraisable.exc_value) is None:
        report(unraisable)
