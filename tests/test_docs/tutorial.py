"""Runs the blocks of a page in a folder."""

import os
import re
import runpy
import shlex
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Protocol
from unittest import mock

import pytest

from mmmuse.commands import main
from mmmuse.registry import MODELS

from ..test_tools.conftest import _forget_runs
from .blocks import REFUSED, Block, blocks_of, command_lines

_VARIABLE = re.compile(r'^(\w+)=(\S*)$')
_NUMBER = re.compile(r'\d[\d.,]*(?:e[-+]?\d+)?')
# Borders of rich's tables.
_BORDER = re.compile(r'[─━│┃┏┓┗┛┡┩├┤┬┴┼╇╈╞╡]')


class Capture(Protocol):
    """pytest's ``capfd``."""

    def readouterr(self) -> tuple[str, str]: ...


def run_page(path: Path, folder: Path, capture: Capture) -> None:
    """Run a page's blocks in a folder, and check what they print."""
    variables: dict = {'__name__': '__main__'}
    printed = ''
    for block in blocks_of(path):
        if block.is_file:
            (folder / block.title).write_text(block.text, encoding='utf-8')
        elif block.lacks:
            continue
        elif block.is_run or block.language == 'python':
            capture.readouterr()
            with in_folder(folder):
                run_block(block, variables)
            printed = '\n'.join(capture.readouterr())
        elif block.language == 'text' and block.title is None:
            check_printed(block, printed)


def run_block(block: Block, variables: dict) -> None:
    if block.language == 'python':
        exec(compile(block.text, str(block), 'exec'), variables)
        _forget_runs()
        return
    for line in command_lines(block.text):
        code = run_line(f'{line} {block.shorter}' if line_is_ours(line) else line)
        wanted = {0} if block.title != REFUSED else {1, 2}
        assert code in wanted, f'{block}: {line!r} ended with exit code {code}'


def line_is_ours(line: str) -> bool:
    return 'mmmuse' in shlex.split(line)[:3]


def run_line(line: str) -> int:
    """Run a command of a page, and return its exit code."""
    words = shlex.split(line, comments=True)
    while variable := _VARIABLE.match(words[0]):
        os.environ[variable[1]] = variable[2]
        if variable[1] == 'PYTHONPATH':
            sys.path[:0] = [str(Path(variable[2]).resolve())]
        words.pop(0)
    try:
        if words[0] == 'mmmuse':
            main(arguments=words[1:])
        elif words[0] == 'python' and words[1].endswith('.py'):
            sys.argv = words[1:]
            runpy.run_path(words[1], run_name='__main__')
        else:
            pytest.fail(f'the test cannot run {line!r}: give its block a title')
    except SystemExit as stop:
        return stop.code or 0
    finally:
        _forget_runs()
    return 0


@contextmanager
def in_folder(folder: Path) -> Iterator[None]:
    """Work in a folder; its variables and modules are forgotten afterwards."""
    modules = set(sys.modules)
    with pytest.MonkeyPatch.context() as patch, mock.patch.dict(os.environ):
        patch.chdir(folder)
        patch.setattr(sys, 'argv', list(sys.argv))
        patch.setattr(sys, 'path', list(sys.path))
        try:
            yield
        finally:
            for name in set(sys.modules) - modules:
                forget_module(name, folder)


def forget_module(name: str, folder: Path) -> None:
    """Forget a module that a page has written into its folder, and what it has registered.

    The parts of an export stay: their name contains a hash of their code.
    """
    file = getattr(sys.modules[name], '__file__', None)
    if file is None or Path(file).resolve().parent != folder.resolve():
        return
    del sys.modules[name]
    for part in [key for key, part in MODELS.module_dict.items() if part.__module__ == name]:
        MODELS.module_dict.pop(part)


def check_printed(block: Block, printed: str) -> None:
    """Check that each line of a block was printed, with other numbers or not."""
    lines = {comparable(line) for line in printed.splitlines()}
    missing = [
        line
        for line in block.text.splitlines()
        if comparable(line) not in lines and line.strip() not in ('', '...')
    ]
    assert not missing, f'{block}: not printed: {missing}\nprinted was:\n{printed[-4000:]}'


def comparable(line: str) -> str:
    """Return a line without numbers, borders and the width of its columns."""
    return ' '.join(_NUMBER.sub('#', _BORDER.sub(' ', line)).split())
