from types import SimpleNamespace
from unittest.mock import Mock

import pytest
from torch import nn

from mmmuse.hooks import KeptMemoryHook


@pytest.fixture
def keep(monkeypatch) -> Mock:
    """A stand-in that changes nothing in the process of the tests."""
    keep = Mock(return_value=True)
    monkeypatch.setattr('mmmuse.hooks.kept_memory.keep_freed_memory', keep)
    return keep


def runner_of(device: str) -> SimpleNamespace:
    return SimpleNamespace(model=nn.Linear(2, 2, device=device), logger=Mock())


def test_memory_is_kept_where_all_weights_are_on_the_cpu(keep):
    runner = runner_of('cpu')
    KeptMemoryHook().before_train(runner)
    keep.assert_called_once_with()
    assert 'MMMUSE_KEEP_MEMORY=0' in runner.logger.info.call_args.args[0]


def test_nothing_changes_for_a_model_on_another_device(keep):
    KeptMemoryHook().before_train(runner_of('meta'))
    keep.assert_not_called()


def test_nothing_is_logged_where_memory_cannot_be_kept(keep):
    keep.return_value = False
    runner = runner_of('cpu')
    KeptMemoryHook().before_train(runner)
    runner.logger.info.assert_not_called()


def test_evaluation_alone_leaves_malloc_as_it_is(keep):
    runner = runner_of('cpu')
    hook = KeptMemoryHook()
    hook.before_run(runner)
    hook.before_test(runner)
    keep.assert_not_called()
