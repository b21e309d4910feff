"""A test without the mark ``slow`` that does what ``make test-fast`` leaves out fails there."""

import multiprocessing
import re
import subprocess
import sys
from types import SimpleNamespace

import pytest
import torch
from torch import nn

from mmmuse.registry import MODELS

from . import slow
from .conftest import ROOT, small_classifier_config
from .slow import LARGE, LONGEST, NotMarked, weights
from .test_tools.conftest import run_command

PROGRAM = [sys.executable, '-I', '-S', '-c', 'pass']
# 3.7 million weights.
LARGE_NETWORK = dict(type='mmpretrain.ResNet_CIFAR', depth=18, base_channels=36, stem_channels=36)


@pytest.fixture(autouse=True)
def _in_a_run_without_slow_tests(monkeypatch):
    monkeypatch.setattr(slow, 'leaves_out_slow', lambda config: True)


def fails(what: str):
    return pytest.raises(pytest.fail.Exception, match=f'^a test that {what} needs pytest.mark.slow')


def test_a_process_needs_the_mark():
    with fails('starts a process'):
        subprocess.run(PROGRAM, check=True)
    with fails('starts a process'):
        multiprocessing.Process(target=print).start()


def test_a_whole_run_lists_what_lacks_the_mark(monkeypatch):
    monkeypatch.setattr(slow, 'leaves_out_slow', lambda config: False)
    with pytest.warns(NotMarked, match='a test that starts a process needs pytest.mark.slow'):
        subprocess.run(PROGRAM, check=True)


@pytest.mark.parametrize(
    ('expression', 'expected'),
    [('not slow and not wheel', True), ('not wheel', False), ('slow', False), ('', False)],
)
def test_the_run_without_slow_tests_is_known_by_its_expression(expression, expected, monkeypatch):
    monkeypatch.undo()
    config = SimpleNamespace(getoption=dict(markexpr=expression).get)
    assert slow.leaves_out_slow(config) is expected


def test_a_command_needs_the_mark():
    with fails('runs a command'):
        run_command('train.py', '--help')


def test_a_large_network_needs_the_mark_and_a_small_one_does_not():
    with fails('builds a network of 3,[0-9,]+ weights'):
        MODELS.build(LARGE_NETWORK)
    assert weights(MODELS.build(small_classifier_config())) < LARGE


def test_weights_on_the_meta_device_are_not_counted():
    assert weights(nn.Linear(10, 3)) == 33
    with torch.device('meta'):
        assert weights(nn.Linear(10, 3)) == 0


@pytest.mark.slow
def test_a_marked_test_may_do_all_of_it():
    subprocess.run(PROGRAM, check=True)
    assert weights(MODELS.build(LARGE_NETWORK)) > LARGE
    assert run_command('train.py', 'no_such_config.py') == 1


def test_the_tests_of_commands_are_marked(request):
    of_commands = [item for item in request.session.items if 'test_tools' in item.path.parts]
    assert all(item.get_closest_marker('slow') for item in of_commands)


def test_the_longest_files_and_then_those_with_slow_tests_come_first(request):
    items = request.session.items
    longest = [ROOT / 'tests' / name for name in LONGEST]
    assert [path for path in longest if not path.is_file()] == []
    found = list(dict.fromkeys(item.path for item in items))
    assert found[: len(set(longest) & set(found))] == [path for path in longest if path in found]
    first = {item.path for item in items if item.get_closest_marker('slow')} | set(longest)
    come_later = [item.path not in first for item in items]
    assert come_later == sorted(come_later)


def test_make_test_fast_leaves_out_the_marked_ones_in_the_order_of_the_files():
    text = (ROOT / 'Makefile').read_text()
    (rule,) = re.findall(r'^test-fast: env\n\t(.*)$', text, re.MULTILINE)
    assert rule.endswith('$(PYTEST) -m "not slow and not wheel"')
    (options,) = re.findall(r'^PYTEST := (.*)$', text, re.MULTILINE)
    assert '--no-loadscope-reorder' in options  # Or xdist sorts the files by their number of tests.
