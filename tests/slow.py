"""Which tests are slow: those that run a command, start a process or build a large network.

The tests of ``tests/test_tools`` and ``tests/test_jobs`` run commands, and are slow by their folder. Any
other test that is slow, or whose fixtures are, has the mark ``slow``. ``make test-fast`` leaves these out. So that the
marks stay right, a test without the mark that does one of the three fails in ``make test-fast``, and is
listed with the warnings of a whole run.
"""

import multiprocessing.process
import subprocess
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from unittest import mock

import pytest
from mmengine.registry import Registry
from torch import nn

# Weights. A network of table 7 of the paper has at most 2.3 million, a ResNet-18 has 11 million.
LARGE = 3_000_000
_TESTS = Path(__file__).resolve().parent
_COMMANDS = {_TESTS / name for name in ('test_tools', 'test_jobs')}
# The longest files, the longest one first.
LONGEST = [
    'test_docs/test_pages.py',
    'test_export/test_nine_networks.py',
    'test_compositions/test_classifiers.py',
    'test_compositions/test_detectors.py',
    'test_compositions/test_segmenters.py',
    'test_tools/test_export_detector.py',
    'test_tools/test_segmenters.py',
    'test_tools/test_export_segmenter.py',
    'test_tools/test_train.py',
    'test_tools/test_mutated_configs.py',
    'test_tools/test_exits.py',
    'test_tools/test_benchmark.py',
    'test_every_reader.py',
    'test_jobs/test_slurm.py',
    'test_tools/test_detectors.py',
    'test_jobs/test_table_in_slurm.py',
    'test_transfer_configs.py',
]
_running: list[pytest.Item] = []


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark the tests of commands; put the longest files first, then the others with slow tests.

    A long file that starts last would run when the other processes have nothing left to do.
    """
    for item in items:
        if _COMMANDS & set(item.path.parents):
            item.add_marker('slow')
    slow = {item.path for item in items if item.get_closest_marker('slow')}
    place = {_TESTS / name: number for number, name in enumerate(LONGEST)}
    items.sort(key=lambda item: (place.get(item.path, len(place)), item.path not in slow))


@pytest.hookimpl(wrapper=True)
def pytest_runtest_protocol(item: pytest.Item) -> Any:
    """Note which test is running."""
    _running.append(item)
    try:
        return (yield)
    finally:
        _running.remove(item)


class NotMarked(Warning):
    """A test that is slow lacks the mark."""


def leaves_out_slow(config: pytest.Config) -> bool:
    """Return whether this is a run without the slow tests."""
    return 'not slow' in config.getoption('markexpr')


def _has_no_mark() -> bool:
    """Return whether a test is running that is not marked as slow."""
    return bool(_running) and _running[-1].get_closest_marker('slow') is None


def needs_mark(what: str) -> None:
    """Fail or warn if the running test does what a slow test does, and is not marked as one."""
    if not _has_no_mark():
        return
    said = f'a test that {what} needs pytest.mark.slow (tests/slow.py)'
    if leaves_out_slow(_running[-1].config):
        pytest.fail(said)
    warnings.warn(NotMarked(said), stacklevel=2)


def _noting(function: Callable, what: str) -> Callable:
    def noted(*args: Any, **kwargs: Any) -> Any:
        needs_mark(what)
        return function(*args, **kwargs)

    return noted


def weights(network: nn.Module) -> int:
    """Return the number of weights of a network; those on the meta device take no time."""
    return sum(weight.numel() for weight in network.parameters() if not weight.is_meta)


def _built(registry: Registry, *args: Any, **kwargs: Any) -> Any:
    part = _build(registry, *args, **kwargs)
    if isinstance(part, nn.Module) and _has_no_mark() and weights(part) > LARGE:
        needs_mark(f'builds a network of {weights(part):,} weights')
    return part


_build = Registry.build


@pytest.fixture(scope='session', autouse=True)
def _slow_tests_are_marked(_done_once: None) -> Iterator[None]:  # Which starts a compiler.
    start = multiprocessing.process.BaseProcess.start
    with (
        mock.patch.object(Registry, 'build', _built),
        mock.patch.object(
            multiprocessing.process.BaseProcess, 'start', _noting(start, 'starts a process')
        ),
        mock.patch.object(
            subprocess.Popen, '__init__', _noting(subprocess.Popen.__init__, 'starts a process')
        ),
    ):
        yield
