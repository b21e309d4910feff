"""A command whose reader has gone, as `mmmuse completion zsh | head -1`."""

import os
import subprocess
import sys
from collections.abc import Iterator
from unittest import mock

import pytest

from mmmuse.environment.doctor import Finding

from ..forks import Fork, mmmuse
from .conftest import ROOT


@pytest.fixture
def writer() -> Iterator[int]:
    """A pipe that nothing reads."""
    reader, writer = os.pipe()
    os.close(reader)
    yield writer
    os.close(writer)


@pytest.mark.parametrize(
    ('arguments', 'code'),
    [(['--help'], 0), (['completion', 'bash'], 141)],  # argparse ends with 0.
)
def test_a_command_whose_reader_has_gone_ends_in_silence(arguments, code, writer):
    if arguments[0] == 'completion':
        pytest.importorskip('shtab')
    command = [sys.executable, '-m', 'mmmuse', *arguments]
    environment = {**os.environ, 'PYTHONPATH': str(ROOT)}
    finished = subprocess.run(command, stdout=writer, stderr=subprocess.PIPE, env=environment)
    assert finished.stderr == b''
    assert finished.returncode == code


def test_so_does_one_that_has_its_answer_after_a_while(writer, tmp_path):
    def check() -> None:
        # What takes the while is the import of each library.
        found = [Finding('torch', 'ok', '2.9.0', 'imported')]
        with mock.patch('mmmuse.commands.check.examine', return_value=found):
            mmmuse('check')()

    with (tmp_path / 'said.txt').open('w+b') as err:
        process = Fork(check, writer, err.fileno())
        process.start()
        process.join()
        err.seek(0)
        assert err.read() == b''
    assert process.exitcode == 141
