import importlib
import re
import sys

import pytest
import torch
from mmengine.registry import MODELS
from mmpretrain.models.heads import LinearClsHead

from mmmuse.command_line.explain import explained
from mmmuse.errors import InputError


def interrupted_save():
    try:
        raise KeyboardInterrupt
    finally:
        raise RuntimeError('unexpected pos')  # What torch.save says then.


def test_an_error_that_an_interrupt_causes_is_an_interrupt(capsys):
    with pytest.raises(SystemExit) as stop, explained('stopped'):
        interrupted_save()
    assert stop.value.code == 130
    assert capsys.readouterr().err == '\nstopped\n'


def test_bad_input_is_one_line(capsys):
    with pytest.raises(SystemExit) as stop, explained():
        raise InputError('two\n  lines')
    assert stop.value.code == 1
    assert capsys.readouterr().err == 'error: two lines\n'


def test_an_error_of_the_program_keeps_its_traceback():
    def f():
        raise TypeError("g() got an unexpected keyword argument 'x'")

    with pytest.raises(TypeError), explained():
        f()


PLUGIN = """
from mmengine.registry import MODELS
from torch import nn


@MODELS.register_module()
class Plugin(nn.Module):
    def __init__(self, how):
        super().__init__()
        if how == 'assert':
            assert how == 3, 'three was expected'
        if how == 'bug':
            raise ZeroDivisionError('by zero')
"""


@pytest.fixture
def build_plugin(tmp_path, monkeypatch):
    """A function that builds a user's module from a config, as a tool does."""
    (tmp_path / 'my_parts.py').write_text(PLUGIN)
    monkeypatch.syspath_prepend(tmp_path)
    importlib.import_module('my_parts')

    def build(how: str) -> None:
        with explained():
            MODELS.build(dict(type='Plugin', how=how))

    yield build
    del MODELS.module_dict['Plugin'], sys.modules['my_parts']


@pytest.mark.parametrize(
    ('how', 'said'),
    [
        ('assert', 'my_parts.Plugin: AssertionError: three was expected'),
        ('bug', 'my_parts.Plugin: ZeroDivisionError: by zero'),
    ],
)
def test_an_error_in_a_users_part_names_its_class_and_how_to_see_the_traceback(
    build_plugin, capsys, how, said
):
    with pytest.raises(SystemExit) as stop:
        build_plugin(how)
    assert stop.value.code == 1
    expected = f'error: config: {said} (MMMUSE_TRACEBACK=1 prints the traceback)\n'
    assert capsys.readouterr().err == expected


def test_the_traceback_is_printed_where_it_is_asked_for(build_plugin, capsys, monkeypatch):
    monkeypatch.setenv('MMMUSE_TRACEBACK', '1')
    with pytest.raises(SystemExit):
        build_plugin('assert')
    *trace, line = capsys.readouterr().err.splitlines()
    assert trace[0] == 'Traceback (most recent call last):'
    assert any('my_parts.py' in row for row in trace)
    assert line.startswith('error: config: my_parts.Plugin: AssertionError')


@pytest.mark.parametrize('asked', ['', '0'])
def test_no_traceback_is_printed_where_it_is_not_asked_for(capsys, monkeypatch, asked):
    monkeypatch.setenv('MMMUSE_TRACEBACK', asked)
    with pytest.raises(SystemExit), explained():
        raise InputError('x')
    assert capsys.readouterr().err == 'error: x\n'


def test_a_bug_of_ours_while_a_part_is_built_keeps_its_traceback(monkeypatch):
    monkeypatch.setattr('mmmuse.critics.global_local_critic.ConcatScore', None)
    critic = dict(type='mmmuse.GlobalLocalCritic', local_channels=1, global_channels=1)
    with pytest.raises(TypeError, match='not callable'), explained():
        MODELS.build(critic)


def test_an_error_of_a_library_while_a_part_is_built_names_the_part(capsys):
    with pytest.raises(SystemExit), explained():
        MODELS.build(dict(type='mmpretrain.ResNet', depth=19))
    assert capsys.readouterr().err == (
        'error: config: ResNet: KeyError: invalid depth 19 for resnet '
        '(MMMUSE_TRACEBACK=1 prints the traceback)\n'
    )


def run_wrong_width() -> None:
    LinearClsHead(num_classes=2, in_channels=3)((torch.zeros(1, 4),))


def run_wrong_width_late() -> None:
    try:
        run_wrong_width()
    except RuntimeError as error:
        error.in_first_step = False
        raise


def test_an_error_of_a_library_outside_of_a_run_names_the_part(capsys):
    with pytest.raises(SystemExit), explained():
        run_wrong_width()
    line = capsys.readouterr().err
    assert re.match(r'error: LinearClsHead failed: RuntimeError: mat1 and mat2 shapes', line)
    assert line.endswith(' (MMMUSE_TRACEBACK=1 prints the traceback)\n')


def test_a_late_error_of_a_run_keeps_its_traceback():
    with pytest.raises(RuntimeError, match='mat1 and mat2'), explained():
        run_wrong_width_late()


def test_a_part_that_does_not_fit_into_the_memory_is_one_line(capsys):
    with pytest.raises(SystemExit), explained():
        MODELS.build(
            dict(
                type='mmmuse.GlobalLocalCritic',
                local_channels=1,
                global_channels=1,
                hidden_channels=10**15,
            )
        )
    assert 'GlobalLocalCritic is too large for the memory' in capsys.readouterr().err


def test_a_missing_argument_is_named(capsys):
    with pytest.raises(SystemExit), explained():
        MODELS.build(dict(type='mmmuse.SelfDistiller'))
    expected = "error: config: SelfDistiller needs 'student' and 'taps'\n"
    assert capsys.readouterr().err == expected
