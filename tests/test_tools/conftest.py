"""Runs the command lines in this process, as ``python tools/X.py`` would."""

import functools
import logging
import os
import runpy
import shutil
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple
from unittest import mock

import pytest
from mmengine.logging import MessageHub, MMLogger
from mmengine.registry import DefaultScope
from mmengine.visualization import Visualizer

from mmmuse.command_line import progress
from mmmuse.datasets import digits
from mmmuse.environment.requirements import check_environment
from mmmuse.export import latency

from ..onnx_operators import onnx_operators_collected_once  # noqa: F401 - a fixture of the tests.
from ..slow import needs_mark

ROOT = Path(__file__).resolve().parents[2]


class Finished(NamedTuple):
    code: int
    out: str
    err: str


def _forget_runs() -> None:
    """Forget MMEngine's named loggers and hubs: a real command starts in a fresh process."""
    for logger in MMLogger._instance_dict.values():
        for handler in list(logger.handlers):
            if isinstance(handler, logging.FileHandler):
                handler.close()
                logger.removeHandler(handler)
    for kind in (MMLogger, MessageHub, DefaultScope, *_with_subclasses(Visualizer)):
        kind._instance_dict.clear()


def _with_subclasses(kind: type) -> Iterator[type]:
    """Yield a class and all that derive from it: each library has a visualizer of its own."""
    yield kind
    for each in kind.__subclasses__():
        yield from _with_subclasses(each)


_check_environment_once = functools.cache(check_environment)


def run_command(script: str, *args: object) -> int:
    """Run a command from the repository's root and return its exit code."""
    needs_mark('runs a command')
    with pytest.MonkeyPatch.context() as patch, mock.patch.dict(os.environ):
        patch.chdir(ROOT)
        patch.setattr(sys, 'argv', [script, *map(str, args)])
        patch.setattr('mmmuse.commands.start.check_environment', _check_environment_once)
        try:
            runpy.run_path(str(ROOT / 'tools' / script), run_name='__main__')
        except SystemExit as stop:
            return stop.code or 0
        finally:
            _forget_runs()
    return 0


def copy_run(work_dir: Path, target: Path) -> Path:
    """Copy a run that several tests share, for a test that goes on with it."""
    shutil.copytree(work_dir, target)
    last = target / 'last_checkpoint'
    last.write_text(str(target / Path(last.read_text()).name))
    return target


@pytest.fixture(scope='package', autouse=True)
def few_timed_calls() -> Iterator[None]:
    """Call each exported form and exit three times, not thirty, and report 1, 2, 3, ... ms.

    Measured times differ from run to run, and with them the exit that a command chooses.
    """
    timed = latency.interleaved_seconds

    def few(calls: Mapping, repeats: int, warmup: int, *args: object, **kwargs: object) -> dict:
        measured = timed(calls, min(repeats, 3), min(warmup, 1), *args, **kwargs)
        return {name: place / 1000 for place, name in enumerate(measured, 1)}

    with mock.patch('mmmuse.export.latency.interleaved_seconds', few):
        yield


@pytest.fixture(scope='module')
def half_of_the_digits() -> Iterator[None]:
    """An epoch of the demo has ten steps, as many as the losses are logged after."""
    images, labels, train, test = digits._digits()
    half = images, labels, train[:675], test[:225]
    with mock.patch('mmmuse.datasets.digits._digits', return_value=half):
        yield


@pytest.fixture
def tool(monkeypatch, capfd) -> Callable[..., Finished]:
    """A function ``tool('train.py', 'config.py', '--resume')`` that runs a command."""
    monkeypatch.chdir(ROOT)

    def run(script: str, *args: object) -> Finished:
        capfd.readouterr()
        code = run_command(script, *args)
        captured = capfd.readouterr()
        return Finished(code, captured.out, captured.err)

    yield run
    _forget_runs()


@pytest.fixture
def lines_of_progress(monkeypatch) -> None:
    """Without a terminal, progress is a line every 15 seconds: here every two milliseconds."""
    monkeypatch.delenv('FORCE_COLOR', raising=False)
    lines = progress._lines

    @contextmanager
    def at_least_one(work: progress.Work) -> Iterator[None]:
        with lines(work):
            yield
            time.sleep(0.05)  # Work may have ended before the thread that writes has started.

    monkeypatch.setattr(progress, 'INTERVAL', 0.002)
    monkeypatch.setattr(progress, '_lines', at_least_one)


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
