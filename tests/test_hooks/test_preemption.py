import os
import signal
from pathlib import Path

import pytest
from mmengine.hooks import Hook

from mmmuse.errors import InputError, Stopped
from mmmuse.hooks import PreemptionHook
from mmmuse.registry import HOOKS

from ..kills.comparison import differences, files, read
from ..kills.runs import start
from .test_safe_checkpoint import forget

PREEMPTION = 'mmmuse.PreemptionHook'


@pytest.fixture(autouse=True)
def _fresh():
    yield
    forget()


@HOOKS.register_module(force=True)
class SendSignal(Hook):
    """Sends this process a signal in a step, or in the evaluation after an epoch."""

    def __init__(self, step: int = 0, evaluation: int = 0) -> None:
        self.step, self.evaluation = step, evaluation

    def before_train_iter(self, runner, batch_idx, data_batch=None) -> None:
        if runner.iter + 1 == self.step:
            os.kill(os.getpid(), signal.SIGTERM)

    def before_val_iter(self, runner, batch_idx, data_batch=None) -> None:
        if runner.epoch == self.evaluation and batch_idx == 1:
            os.kill(os.getpid(), signal.SIGTERM)


def send_signal(**when: int) -> dict:
    return dict(type='mmmuse.SendSignal', **when)


def preempted(kind: str, folder: Path, *sent: dict, **changes) -> Path:
    """Train until each of the signals, and then to the end; return the work dir."""
    work_dir = folder / 'preempted'
    for each in sent:
        hooks = [dict(type=PREEMPTION), dict(type='EMAHook', momentum=0.1), each]
        with pytest.raises(Stopped) as stopped:
            start(kind, folder, work_dir, custom_hooks=hooks, **changes)
        assert stopped.value.number == signal.SIGTERM
        forget()
    hooks = [dict(type=PREEMPTION), dict(type='EMAHook', momentum=0.1)]
    start(kind, folder, work_dir, custom_hooks=hooks, **changes)
    return work_dir


@pytest.fixture(scope='module')
def straight(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp('straight')
    start('ema', folder, folder / 'run')
    forget()
    return folder / 'run'


@pytest.mark.parametrize('steps', [[3], [2, 5]])
def test_a_run_that_is_preempted_within_an_epoch_ends_as_one_that_is_not(straight, tmp_path, steps):
    work_dir = preempted('ema', tmp_path, *(send_signal(step=step) for step in steps))
    assert differences(work_dir, straight) == []


def test_the_step_is_finished_and_its_checkpoint_is_the_one_to_resume_from(tmp_path):
    with pytest.raises(Stopped):
        start(
            'self',
            tmp_path,
            tmp_path / 'run',
            custom_hooks=[dict(type=PREEMPTION), send_signal(step=5)],
        )
    path = tmp_path / 'run' / 'preempted.pth'
    assert (tmp_path / 'run' / 'last_checkpoint').read_text() == str(path)
    meta = read(path)['meta']
    assert (meta['epoch'], meta['iter'], meta['batches_done']) == (1, 5, 2)


def test_a_signal_in_an_evaluation_stops_at_once_where_the_epoch_was_saved(straight, tmp_path):
    assert differences(preempted('ema', tmp_path, send_signal(evaluation=2)), straight) == []


def test_a_signal_in_an_evaluation_saves_after_it_where_the_epoch_was_not_saved(tmp_path):
    changes = {'default_hooks.checkpoint.interval': 3}
    start('ema', tmp_path, tmp_path / 'straight', **changes)
    forget()
    work_dir = preempted('ema', tmp_path, send_signal(evaluation=2), **changes)
    assert differences(work_dir, tmp_path / 'straight') == []


def test_an_iteration_based_run_is_preempted_too(tmp_path):
    start(
        'iterations',
        tmp_path,
        tmp_path / 'straight',
        custom_hooks=[dict(type='EMAHook', momentum=0.1)],
    )
    forget()
    work_dir = preempted('iterations', tmp_path, send_signal(step=3))
    assert differences(work_dir, tmp_path / 'straight') == []


def test_peers_are_preempted_without_files_of_their_own(tmp_path):
    with pytest.raises(Stopped):
        start(
            'online',
            tmp_path,
            tmp_path / 'run',
            custom_hooks=[dict(type=PREEMPTION), send_signal(step=2)],
        )
    assert files(tmp_path / 'run') == {'preempted.pth', 'last_checkpoint'}


def test_another_number_of_batches_starts_the_epoch_again(tmp_path):
    hooks = [dict(type=PREEMPTION), send_signal(step=2)]
    with pytest.raises(Stopped):
        start('self', tmp_path, tmp_path / 'run', custom_hooks=hooks)
    forget()
    changes = {'train_dataloader.batch_size': 4, 'train_cfg.max_epochs': 1}
    start('self', tmp_path, tmp_path / 'run', **changes)
    assert read(tmp_path / 'run' / 'epoch_1.pth')['meta']['iter'] == 2 + 6


def test_the_handlers_of_signals_are_restored_after_a_run(tmp_path):
    before = signal.getsignal(signal.SIGTERM)
    changes = {'train_cfg.max_epochs': 1}
    start('self', tmp_path, tmp_path / 'run', custom_hooks=[dict(type=PREEMPTION)], **changes)
    assert signal.getsignal(signal.SIGTERM) == before


@pytest.mark.parametrize('signals', ['SIGTERM', ['SIGNONE'], [15]])
def test_unknown_signals_are_refused(signals):
    with pytest.raises(InputError, match='signals is a list of one of SIGTERM, SIGINT'):
        PreemptionHook(signals=signals)


def test_a_preempted_step_in_the_work_dir_keeps_the_best_and_the_rotation_of_another_folder(
    tmp_path,
):
    changes = {'default_hooks.checkpoint.out_dir': str(tmp_path / 'out')}
    hooks = [dict(type='mmmuse.PreemptionHook')]
    start('self', tmp_path, tmp_path / 'straight', custom_hooks=hooks, **changes)
    forget()
    sent = [*hooks, send_signal(step=5)]
    with pytest.raises(Stopped):
        start('self', tmp_path, tmp_path / 'run', custom_hooks=sent, **changes)
    forget()
    assert (tmp_path / 'run' / 'preempted.pth').exists()
    start('self', tmp_path, tmp_path / 'run', custom_hooks=hooks, **changes)
    assert not (tmp_path / 'run' / 'preempted.pth').exists()
    assert files(tmp_path / 'out' / 'run') == files(tmp_path / 'out' / 'straight')
