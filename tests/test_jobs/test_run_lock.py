import os

import pytest

from mmmuse.jobs.run_lock import holder, note_holder, process_of, run_lock


def test_a_lock_has_one_holder_that_others_can_see(tmp_path, monkeypatch):
    monkeypatch.setattr('mmmuse.jobs.run_lock._SECONDS', 0.1)
    path = tmp_path / 'seed0.lock'
    assert holder(path) is None
    with run_lock(path) as lock:
        assert holder(path) == {}
        note_holder(lock, device='cuda:1')
        note_holder(lock, device='cpu')
        assert (holder(path)['pid'], holder(path)['device']) == (os.getpid(), 'cpu')
        with run_lock(path) as second:
            assert second is None
    assert holder(path) is None
    with run_lock(path) as again:
        assert again is not None


def test_a_lock_is_held_until_every_process_that_inherited_it_has_ended(tmp_path):
    path = tmp_path / 'seed0.lock'
    end, write = os.pipe()
    with run_lock(path):
        child = os.fork()
        if child == 0:
            os.close(write)
            os.read(end, 1)
            os._exit(0)
    assert holder(path) == {}
    os.close(write)
    os.waitpid(child, 0)
    assert holder(path) is None


def test_a_damaged_note_is_no_error(tmp_path):
    path = tmp_path / 'seed0.lock'
    with run_lock(path) as lock:
        for text in (b'{', b'[1]', b'\xff', b'{"pid": [1]}'):
            os.ftruncate(lock, 0)
            os.write(lock, text)
            assert holder(path) == {}


def test_what_is_no_file_is_not_opened(tmp_path):
    os.mkfifo(tmp_path / 'fifo')
    assert holder(tmp_path / 'fifo') is None


def test_the_processes_of_a_note_are_found_while_they_live(tmp_path):
    path = tmp_path / 'seed0.lock'
    end, write = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(write)
        os.read(end, 1)
        os._exit(0)
    with run_lock(path) as lock:
        note_holder(lock, process=child)
        facts = holder(path)
        assert (process_of(facts, 'pid'), process_of(facts, 'process')) == (os.getpid(), child)
        # Its number has been given to another process since.
        assert process_of({**facts, 'process_started': 1}, 'process') is None
        os.close(write)
        os.waitpid(child, 0)
        assert process_of(holder(path), 'process') is None


@pytest.mark.parametrize('number', [None, 'text', 0, -1, 1, 10**30, True])
def test_a_number_that_can_be_no_training_is_no_process(number):
    assert process_of({'pid': number}, 'pid') is None


def test_nobody_has_no_process():
    assert process_of(None, 'pid') is None
