import pytest
import torch

from mmmuse.errors import InputError, Stopped

from ..kills.comparison import differences, read
from ..kills.runs import start
from .test_preemption import PREEMPTION, send_signal
from .test_safe_checkpoint import forget

MONITOR = 'accuracy/top1'


def stopping(**options) -> dict:
    return dict(type='EarlyStoppingHook', monitor=MONITOR, **options)


@pytest.fixture(autouse=True)
def _fresh():
    yield
    forget()


def epochs(work_dir) -> list[int]:
    return sorted(int(path.stem.split('_')[1]) for path in work_dir.glob('epoch_*.pth'))


# No epoch is better than the first one by a point more than there are.
NEVER_BETTER = dict(min_delta=101.0, patience=2)
# The epochs' accuracies are 10, 12.5 and 12.5 %.
REACHED = dict(stopping_threshold=11.0)


@pytest.mark.parametrize('options', [NEVER_BETTER, REACHED])
@pytest.mark.parametrize('when', [dict(step=5), dict(step=6), dict(evaluation=2)])
def test_a_resumed_run_stops_where_an_uninterrupted_one_does(options, when, tmp_path):
    changes = {'train_cfg.max_epochs': 5}
    hooks = [dict(type=PREEMPTION), stopping(**options)]
    start('self', tmp_path, tmp_path / 'straight', custom_hooks=hooks, **changes)
    forget()
    sent = [*hooks, send_signal(**when)]
    with pytest.raises(Stopped):
        start('self', tmp_path, tmp_path / 'run', custom_hooks=sent, **changes)
    forget()
    start('self', tmp_path, tmp_path / 'run', custom_hooks=hooks, **changes)
    assert epochs(tmp_path / 'straight') == ([2] if options is REACHED else [3])
    assert differences(tmp_path / 'run', tmp_path / 'straight') == []


@pytest.mark.parametrize('options', [NEVER_BETTER, REACHED])
def test_a_run_that_has_stopped_does_not_train_on_when_it_is_resumed(options, tmp_path):
    for _ in range(2):
        changes = {'custom_hooks': [stopping(**options)], 'train_cfg.max_epochs': 5}
        start('self', tmp_path, tmp_path / 'run', **changes)
        forget()
        assert epochs(tmp_path / 'run') == ([2] if options is REACHED else [3])


def test_a_larger_patience_lets_it_go_on(tmp_path):
    for patience, last in ((1, 2), (3, 4)):
        options = dict(NEVER_BETTER, patience=patience)
        changes = {'custom_hooks': [stopping(**options)], 'train_cfg.max_epochs': 5}
        start('self', tmp_path, tmp_path / 'run', **changes)
        forget()
        assert epochs(tmp_path / 'run') == [last]


@pytest.mark.parametrize('counts', ['a', {MONITOR: 1.0}, {MONITOR: (float('nan'), 1)}])
def test_a_checkpoint_with_other_counts_is_refused(counts, tmp_path):
    hooks = [stopping(**NEVER_BETTER)]
    changes = {'custom_hooks': hooks, 'train_cfg.max_epochs': 1}
    start('self', tmp_path, tmp_path / 'run', **changes)
    forget()
    path = tmp_path / 'run' / 'epoch_1.pth'
    content = read(path)
    content['message_hub']['runtime_info']['early_stopping'] = counts
    torch.save(content, path)
    with pytest.raises(InputError, match='the checkpoint has no'):
        start('self', tmp_path, tmp_path / 'run', custom_hooks=hooks)
