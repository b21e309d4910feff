import os
import signal
import subprocess
import sys
import threading

import pytest

from mmmuse.jobs.signals_later import signals_later

WAITS = 'import sys; print("ready", flush=True); sys.stdin.read(); print("alive")'


@pytest.fixture
def handled():
    received = []
    before = signal.signal(signal.SIGINT, lambda number, frame: received.append(number))
    yield received
    signal.signal(signal.SIGINT, before)


def test_a_signal_is_handled_once_and_after_the_block(handled):
    with signals_later():
        for _ in range(2):
            os.kill(os.getpid(), signal.SIGINT)
        assert handled == []
    assert handled == [signal.SIGINT]
    os.kill(os.getpid(), signal.SIGINT)
    assert len(handled) == 2


def test_a_process_that_is_started_in_it_does_not_receive_ctrl_c():
    with signals_later():
        process = subprocess.Popen(
            [sys.executable, '-c', WAITS], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
    assert process.stdout.readline() == 'ready\n'
    process.send_signal(signal.SIGINT)
    assert process.communicate(timeout=30)[0] == 'alive\n'


def test_another_thread_is_left_alone():
    entered = []

    def enter() -> None:
        with signals_later():
            entered.append(signal.getsignal(signal.SIGTERM))

    before = signal.getsignal(signal.SIGTERM)
    thread = threading.Thread(target=enter)
    thread.start()
    thread.join()
    assert entered == [before]
