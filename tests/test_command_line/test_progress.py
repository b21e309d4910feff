"""Long work is shown on stderr: a bar in a terminal, lines elsewhere; stdout stays clean."""

import time

import pytest

from mmmuse.command_line import progress
from mmmuse.command_line.progress import Work, shown, tracked, tracker


def test_a_terminal_gets_a_bar_with_what_is_done_and_the_time_left(monkeypatch, capsys):
    monkeypatch.setenv('FORCE_COLOR', '1')
    monkeypatch.setenv('COLUMNS', '120')
    with shown('timing the exits', 4) as work:
        work.advance()
        time.sleep(0.3)
    captured = capsys.readouterr()
    assert captured.out == ''
    assert 'timing the exits' in captured.err
    assert '1 of 4' in captured.err
    assert 'left' in captured.err


def test_elsewhere_a_line_is_written_every_so_often(monkeypatch, capsys):
    monkeypatch.delenv('FORCE_COLOR', raising=False)
    monkeypatch.setattr(progress, 'INTERVAL', 0.05)
    for _ in tracked([1, 2, 3], 'reading'):
        time.sleep(0.1)
    captured = capsys.readouterr()
    assert captured.out == ''
    lines = captured.err.splitlines()
    assert len(lines) >= 3
    assert lines[0] == 'reading: 0 of 3'
    assert any(line.startswith('reading: 2 of 3, about 0:00:0') for line in lines)


def test_short_work_elsewhere_is_silent(monkeypatch, capsys):
    monkeypatch.delenv('FORCE_COLOR', raising=False)
    assert list(tracked(iter('abc'), 'reading', 3)) == ['a', 'b', 'c']
    with shown('building'):
        pass
    captured = capsys.readouterr()
    assert captured == ('', '')


def test_work_inside_other_work_is_not_shown(monkeypatch, capsys):
    monkeypatch.setenv('FORCE_COLOR', '1')
    with shown('outer'):
        assert list(tracker('inner')([1, 2])) == [1, 2]
    err = capsys.readouterr().err
    assert 'outer' in err
    assert 'inner' not in err


def test_an_error_ends_the_work(monkeypatch):
    with pytest.raises(ValueError, match='x'), shown('one'):
        raise ValueError('x')
    assert progress._shown == []


@pytest.mark.parametrize(
    ('total', 'done', 'line'),
    [
        (10, 4, 'evaluating: 4 of 10, about 0:02:30 left'),
        (10, 0, 'evaluating: 0 of 10'),
        (None, 0, 'evaluating: 0:01:40'),
    ],
)
def test_the_time_left_is_that_of_the_steps_left(monkeypatch, total, done, line):
    work = Work('evaluating', total)
    work.advance(done)
    monkeypatch.setattr(work, 'started', time.monotonic() - 100)
    assert str(work) == line


def test_the_number_of_steps_may_be_known_later():
    work = Work('running')
    work.report(3, 12)
    assert str(work).startswith('running: 3 of 12')
