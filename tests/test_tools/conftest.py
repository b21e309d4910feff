"""Runs the command lines in this process, as ``python tools/X.py`` would."""

import logging
import os
import runpy
import sys
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import pytest
from mmengine.logging import MessageHub, MMLogger
from mmengine.registry import DefaultScope
from mmpretrain.visualization import UniversalVisualizer

ROOT = Path(__file__).resolve().parents[2]


class Finished(NamedTuple):
    code: int
    out: str
    err: str


def _forget_runs() -> None:
    """Forget MMEngine's named loggers and hubs: a real command starts in a fresh process."""
    for logger in MMLogger._instance_dict.values():
        for handler in logger.handlers:
            if isinstance(handler, logging.FileHandler):
                handler.close()
    for kind in (MMLogger, MessageHub, UniversalVisualizer, DefaultScope):
        kind._instance_dict.clear()


@pytest.fixture
def tool(monkeypatch, capfd) -> Callable[..., Finished]:
    """A function ``tool('train.py', 'config.py', '--resume')`` that runs a command."""
    monkeypatch.chdir(ROOT)
    environment = dict(os.environ)

    def run(script: str, *args: object) -> Finished:
        monkeypatch.setattr(sys, 'argv', [script, *map(str, args)])
        capfd.readouterr()
        code = 0
        try:
            runpy.run_path(str(ROOT / 'tools' / script), run_name='__main__')
        except SystemExit as stop:
            code = stop.code or 0
        finally:
            _forget_runs()
            os.environ.clear()
            os.environ.update(environment)
        captured = capfd.readouterr()
        return Finished(code, captured.out, captured.err)

    yield run
    _forget_runs()


@pytest.fixture
def only_error() -> Callable[[Finished], str]:
    """A function that returns the one error line of a command that failed."""

    def check(finished: Finished) -> str:
        assert finished.code == 1, finished.err
        lines = [line for line in finished.err.splitlines() if line.startswith('error: ')]
        assert len(lines) == 1
        assert 'Traceback' not in finished.err
        return lines[0]

    return check
