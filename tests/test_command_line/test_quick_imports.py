import gc
import sys

import pytest

from mmmuse.command_line.quick_imports import quick_imports


@pytest.fixture
def _first(monkeypatch):
    """As in a process that has not imported PyTorch yet."""
    monkeypatch.setattr(sys, 'meta_path', list(sys.meta_path))
    monkeypatch.delitem(sys.modules, 'torch')
    gc.unfreeze()  # The suite has frozen what it has imported (tests/conftest.py).
    yield
    gc.enable()
    gc.freeze()


@pytest.mark.usefixtures('_first')
def test_no_garbage_is_collected_during_the_first_imports_and_they_are_exempt_later():
    with quick_imports():
        assert not gc.isenabled()
    assert gc.isenabled()
    assert gc.get_freeze_count() > 0


@pytest.mark.usefixtures('_first')
def test_an_import_that_fails_leaves_the_collector_enabled_and_nothing_exempt():
    with pytest.raises(ImportError), quick_imports():
        raise ImportError
    assert gc.isenabled()
    assert gc.get_freeze_count() == 0


@pytest.mark.usefixtures('_first')
def test_a_collector_that_was_disabled_stays_so():
    gc.disable()
    with quick_imports():
        pass
    assert not gc.isenabled()
    assert gc.get_freeze_count() == 0


def test_what_a_program_has_made_after_its_imports_is_not_exempt(monkeypatch):
    monkeypatch.setattr(sys, 'meta_path', list(sys.meta_path))
    before = gc.get_freeze_count()
    with quick_imports():
        made = [[] for _ in range(1000)]
        assert gc.isenabled()
    assert gc.get_freeze_count() <= before < before + len(made)
