"""A command whose reader has gone, as `mmmuse completion zsh | head -1`."""

import os
import subprocess
import sys

import pytest

from .conftest import ROOT


@pytest.mark.parametrize(
    ('arguments', 'code'),
    [(['--help'], 0), (['check'], 141), (['completion', 'bash'], 141)],  # argparse ends with 0.
)
def test_a_command_whose_reader_has_gone_ends_in_silence(arguments, code):
    if arguments[0] == 'completion':
        pytest.importorskip('shtab')
    reader, writer = os.pipe()
    os.close(reader)
    command = [sys.executable, '-m', 'mmmuse', *arguments]
    environment = {**os.environ, 'PYTHONPATH': str(ROOT)}
    finished = subprocess.run(command, stdout=writer, stderr=subprocess.PIPE, env=environment)
    os.close(writer)
    assert finished.stderr == b''
    assert finished.returncode == code
