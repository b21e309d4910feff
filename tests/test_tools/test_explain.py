import pytest

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
