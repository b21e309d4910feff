import multiprocessing.util
import os
import signal
import subprocess
import sys
import time

import pytest
import torch
from torch._subclasses.fake_tensor import FakeTensorMode

from .forks import Fork
from .test_jobs.fork_server import forked_training_command

pytestmark = pytest.mark.slow


def print_where() -> None:
    print(os.getcwd(), dict(os.environ))


def ends(function, tmp_path, **options) -> tuple[int, str, str]:
    """Run a function in a fork, and return its exit code, stdout and stderr."""
    out, err = tmp_path / 'out', tmp_path / 'err'
    with out.open('w') as to, err.open('w') as errors:
        fork = Fork(function, to.fileno(), errors.fileno(), **options)
        fork.start()
    fork.join(60)
    return fork.exitcode, out.read_text(), err.read_text()


@pytest.mark.parametrize(
    ('function', 'code', 'said'),
    [
        (lambda: None, 0, ''),
        (lambda: 3, 3, ''),
        (lambda: sys.exit(), 0, ''),
        (lambda: sys.exit(130), 130, ''),
        (lambda: sys.exit('error: of a text'), 1, 'error: of a text\n'),
        (lambda: os.kill(os.getpid(), signal.SIGTERM), -15, ''),
    ],
)
def test_a_fork_ends_as_a_program_of_python(tmp_path, function, code, said):
    assert ends(function, tmp_path) == (code, '', said)


def test_an_error_is_a_traceback_and_code_1(tmp_path):
    code, _, said = ends(lambda: 1 / 0, tmp_path)
    assert code == 1
    assert said.startswith('Traceback')
    assert said.endswith('ZeroDivisionError: division by zero\n')


def test_an_error_while_a_fork_ends_is_reported_and_keeps_its_code(tmp_path):
    def end() -> int:
        multiprocessing.util._exit_function = lambda: 1 / 0
        return 3

    code, _, said = ends(end, tmp_path)
    assert code == 3
    assert said.startswith('Exception ignored in atexit callback')


def test_a_fork_can_train_after_an_export_in_this_process(tmp_path):
    def back() -> None:
        torch.ones(1, requires_grad=True).backward()

    with FakeTensorMode():  # As exports use it; it registers a device.
        torch.ones(1)
    back()
    assert ends(back, tmp_path) == (0, '', '')


def test_ctrl_c_raises_also_where_this_process_ignores_it(tmp_path):
    def interrupted() -> int:
        try:
            os.kill(os.getpid(), signal.SIGINT)
        except KeyboardInterrupt:
            return 130

    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        assert ends(interrupted, tmp_path)[0] == 130
    finally:
        signal.signal(signal.SIGINT, before)


def test_folder_and_variables_are_its_own(tmp_path):
    options = dict(folder=tmp_path, environment={'ONLY': 'one'})
    assert ends(print_where, tmp_path, **options) == (0, f"{tmp_path} {{'ONLY': 'one'}}\n", '')
    assert 'ONLY' not in os.environ
    assert os.getcwd() != str(tmp_path)


def test_a_program_that_stands_for_a_fork_prints_and_ends_as_it_does(tmp_path):
    with forked_training_command() as command:
        program = [*command[:-1], 'trian', 'config.py']
        finished = subprocess.run(program, cwd=tmp_path, capture_output=True, text=True)
    assert finished.returncode == 2
    assert finished.stderr == "error: unknown command 'trian'; did you mean 'train'?\n"


def test_a_signal_to_the_program_reaches_the_fork_and_its_end_is_the_end_of_the_fork(tmp_path):
    waits = tmp_path / 'waits.py'
    # MMEngine 0.10.7 does not run what a config imports.
    waits.write_text(
        'open("process", "w").write(str(__import__("os").getpid()))\n__import__("time").sleep(60)\n'
    )
    with forked_training_command() as command:
        for number, code in ((signal.SIGTERM, 143), (signal.SIGKILL, -9)):
            (tmp_path / 'process').unlink(missing_ok=True)
            program = subprocess.Popen([*command, 'waits.py'], cwd=tmp_path, stderr=subprocess.PIPE)
            process = started(tmp_path / 'process')
            program.send_signal(number)
            program.communicate(timeout=30)
            assert program.returncode == code
            end = time.monotonic() + 30
            while os.path.exists(f'/proc/{process}') and time.monotonic() < end:
                time.sleep(0.05)
            assert not os.path.exists(f'/proc/{process}')


def started(path) -> int:
    """Wait for a file with the number of a process."""
    end = time.monotonic() + 30
    while not (path.is_file() and path.read_text()):
        assert time.monotonic() < end
        time.sleep(0.05)
    return int(path.read_text())
