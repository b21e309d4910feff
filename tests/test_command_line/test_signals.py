import os
import signal
import sys
import threading
import time
import traceback
from contextlib import suppress

import pytest

from mmmuse.command_line.explain import explained
from mmmuse.command_line.signals import ENDING, stop_if_received, stopped_by_signals
from mmmuse.errors import Stopped


@pytest.fixture(autouse=True)
def _default_handlers():
    """The handlers of a command that a terminal starts."""
    before = {number: signal.getsignal(number) for number in ENDING}
    for number in ENDING:
        signal.signal(number, signal.SIG_DFL)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


def receive(number: int) -> None:
    os.kill(os.getpid(), number)
    time.sleep(5)


def stopped_save() -> None:
    try:
        receive(signal.SIGTERM)
    finally:
        raise RuntimeError('unexpected pos')  # What torch.save says then.


@pytest.mark.parametrize(
    ('number', 'code'), [(signal.SIGINT, 130), (signal.SIGTERM, 143), (signal.SIGHUP, 129)]
)
def test_a_signal_ends_a_command_with_one_line_and_its_exit_code(number, code, capsys):
    with pytest.raises(SystemExit) as stop, explained('stopped; --resume goes on'):
        receive(number)
    assert stop.value.code == code
    assert capsys.readouterr().err == '\nstopped; --resume goes on\n'


def test_a_signal_during_a_save_is_told_from_the_error_that_it_causes():
    with pytest.raises(SystemExit) as stop, explained():
        stopped_save()
    assert stop.value.code == 143


def swallow(number: int) -> None:
    with suppress(BaseException):  # As MMEngine's message hub does while it copies itself.
        receive(number)


def swallowed_and_noticed() -> None:
    swallow(signal.SIGTERM)
    stop_if_received()


def swallowed_before_an_error() -> None:
    swallow(signal.SIGTERM)
    raise RuntimeError('DataLoader worker (pid(s) 1, 2) exited unexpectedly')


class ReceivesWhenFreed:
    def __del__(self) -> None:
        receive(signal.SIGTERM)


class RaisesWhenFreed:
    def __init__(self, message: str) -> None:
        self.message = message

    def __del__(self) -> None:
        raise RuntimeError(self.message)


def swallowed_by_python() -> None:
    ReceivesWhenFreed()
    stop_if_received()


@pytest.mark.parametrize(
    'command', [swallowed_and_noticed, swallowed_before_an_error, swallowed_by_python]
)
def test_a_signal_that_other_code_swallows_stops_the_command_later(command, capsys):
    with pytest.raises(SystemExit) as stop, explained('stopped'):
        command()
    assert stop.value.code == 143
    assert capsys.readouterr().err == '\nstopped\n'


def test_a_worker_that_a_signal_to_the_group_stopped_first_is_no_error():
    with pytest.raises(SystemExit) as stop, explained():
        raise RuntimeError('DataLoader worker (pid(s) 12) is killed by signal: Terminated. ')
    assert stop.value.code == 143


def stopped_while_a_callback_notices_its_worker() -> None:
    RaisesWhenFreed('DataLoader worker (pid 12) is killed by signal: Hangup. ')
    receive(signal.SIGHUP)


def test_a_stopped_worker_that_a_callback_notices_prints_nothing(capsys):
    with pytest.raises(SystemExit), explained('stopped'):
        stopped_while_a_callback_notices_its_worker()
    assert capsys.readouterr().err == '\nstopped\n'


def test_what_is_freed_after_a_stopped_command_prints_nothing_until_the_next_one(monkeypatch):
    said = []
    monkeypatch.setattr(sys, 'unraisablehook', said.append)
    with pytest.raises(SystemExit), explained('stopped'):
        receive(signal.SIGTERM)
    RaisesWhenFreed('_workers_status')
    assert said == []
    with explained():
        RaisesWhenFreed('of the next command')
    assert len(said) == 1
    assert sys.unraisablehook == said.append


def test_a_worker_that_crashed_is_an_error():
    with pytest.raises(RuntimeError), explained():
        raise RuntimeError('DataLoader worker (pid 12) is killed by signal: Killed. ')


@pytest.mark.parametrize(
    ('number', 'status'),
    [(signal.SIGTERM, signal.SIGTERM), (signal.SIGHUP, 7 << 8), (signal.SIGINT, 7 << 8)],
)
def test_a_fork_prints_nothing_and_only_sigterm_ends_it(number, status, tmp_path):
    said = tmp_path / 'said'
    with stopped_by_signals():
        fork = os.fork()
        if not fork:
            with open(said, 'w') as file:
                os.dup2(file.fileno(), 2)
            try:
                os.kill(os.getpid(), number)
            except BaseException:
                traceback.print_exc()
            os._exit(7)
    assert os.waitpid(fork, 0) == (fork, status)
    assert said.read_text() == ''


def test_an_ignored_signal_stays_ignored():
    signal.signal(signal.SIGHUP, signal.SIG_IGN)  # As nohup does.
    with stopped_by_signals():
        os.kill(os.getpid(), signal.SIGHUP)
    assert signal.getsignal(signal.SIGHUP) == signal.SIG_IGN


def test_the_handlers_are_restored():
    with pytest.raises(Stopped), stopped_by_signals():
        receive(signal.SIGTERM)
    assert signal.getsignal(signal.SIGTERM) == signal.SIG_DFL


def test_a_command_in_another_thread_leaves_the_handlers_alone():
    found = []

    def command():
        with stopped_by_signals():
            found.append(signal.getsignal(signal.SIGTERM))

    thread = threading.Thread(target=command)
    thread.start()
    thread.join()
    assert found == [signal.SIG_DFL]
