import gc
import subprocess
import sys

import pytest

from mmmuse.command_line.quick_imports import quick_imports

RUN = """
import sys
import mmmuse.commands.start as start
from mmmuse.commands import main

load = start._loaded

def stop(*args):
    print('\\nimported', sorted({'mmdet', 'numba', 'pandas', 'transformers', 'imgaug'} & set(sys.modules)))
    print(type(args[0].runner.model).__name__, flush=True)
    sys.exit()

def loaded(*args):
    run = load(*args)
    from mmengine.runner import EpochBasedTrainLoop
    EpochBasedTrainLoop.run_iter = stop
    return run

start._loaded = loaded
main('train', sys.argv[1:])
"""


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


@pytest.mark.slow
def test_a_classifier_is_trained_without_mmdet(tmp_path):
    config = 'configs/demo/resnet18_digits_mi_x_si.py'
    finished = subprocess.run(
        [sys.executable, '-W', 'ignore', '-c', RUN, config, '--work-dir', str(tmp_path)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert finished.stdout.splitlines()[-2:] == ['imported []', 'SelfDistiller'], finished.stderr
