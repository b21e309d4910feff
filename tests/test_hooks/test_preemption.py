import json
import os
import shutil
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

    def __init__(self, step: int = 0, evaluation: int = -1) -> None:
        self.step, self.evaluation = step, evaluation

    def before_train_iter(self, runner, batch_idx, data_batch=None) -> None:
        if runner.iter + 1 == self.step:
            os.kill(os.getpid(), signal.SIGTERM)

    def before_val_iter(self, runner, batch_idx, data_batch=None) -> None:
        if runner.epoch == self.evaluation and batch_idx == 1:
            os.kill(os.getpid(), signal.SIGTERM)


def send_signal(**when: int) -> dict:
    return dict(type='mmmuse.SendSignal', **when)


def preempted(kind: str, folder: Path, *sent: dict, finished: bool = True, **changes) -> Path:
    """Train until each of the signals, and then to the end; return the work dir."""
    work_dir = folder / 'preempted'
    for each in sent:
        hooks = [dict(type=PREEMPTION), dict(type='EMAHook', momentum=0.1), each]
        with pytest.raises(Stopped) as stopped:
            start(kind, folder, work_dir, custom_hooks=hooks, **changes)
        assert stopped.value.number == signal.SIGTERM
        assert stopped.value.finished == finished
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


@pytest.mark.parametrize('steps', [[3], [2, 5], [9]])
def test_a_run_that_is_preempted_within_an_epoch_ends_as_one_that_is_not(straight, tmp_path, steps):
    work_dir = preempted('ema', tmp_path, *(send_signal(step=step) for step in steps))
    assert differences(work_dir, straight) == []


def scalars(work_dir: Path, key: str) -> list[tuple[int, float]]:
    """Return the steps of the lines that all starts of a run have logged, and their values."""
    logs = sorted(work_dir.glob('*/vis_data/scalars.json'))
    lines = [json.loads(line) for log in logs for line in log.read_text().splitlines()]
    return [(line['step'], line[key]) for line in lines if key in line]


class Numbers(Hook):
    """Notes the epoch, the step and the number of each batch that it is given."""

    def __init__(self, noted: list) -> None:
        self.noted = noted

    def after_train_iter(self, runner, batch_idx, data_batch=None, outputs=None) -> None:
        self.noted.append((runner.epoch, runner.iter, batch_idx))


@pytest.mark.parametrize('steps', [[4], [4, 5]])
@pytest.mark.parametrize('interval', [2, 10])
def test_the_log_of_a_run_that_is_preempted_within_an_epoch_has_every_line(
    tmp_path, steps, interval
):
    # The logged loss is a mean over all steps of the epoch so far: the most that a line can need.
    changes = {
        'log_processor': dict(
            custom_cfg=[dict(data_src='loss', window_size='epoch', method_name='mean')]
        ),
        'default_hooks.logger': dict(type='LoggerHook', interval=interval),
    }
    start('self', tmp_path, tmp_path / 'straight', **changes)
    forget()
    sent = [send_signal(step=step) for step in steps]
    work_dir = preempted('self', tmp_path, *sent, **changes)
    straight = scalars(tmp_path / 'straight', 'loss')
    assert [step for step, _ in straight] == ([2, 5, 8] if interval == 2 else [3, 6, 9])
    assert scalars(work_dir, 'loss') == straight


def test_means_of_an_interval_in_which_a_run_is_preempted_are_of_all_its_steps(tmp_path):
    # Intervals of four steps in epochs of three: step 3 is the last one of an epoch.
    hook = dict(type='mmmuse.InformationLoggerHook', interval=4)
    changes = {'default_hooks.information': hook}
    start('self', tmp_path, tmp_path / 'straight', **changes)
    forget()
    sent = [send_signal(step=step) for step in (2, 3, 6)]
    work_dir = preempted('self', tmp_path, *sent, **changes)
    for name in ('mi_loss_1', 'si_loss_2', 'gradient_ratio'):
        straight = scalars(tmp_path / 'straight', f'information/{name}')
        steps = [4, 8] if name == 'gradient_ratio' else [4, 8, 9]
        assert [step for step, _ in straight] == steps
        assert scalars(work_dir, f'information/{name}') == straight


def test_hooks_are_given_the_number_of_a_batch_in_its_epoch_after_a_resume(tmp_path):
    noted = []
    HOOKS.register_module(name='Numbers', module=lambda: Numbers(noted), force=True)
    numbers = dict(type='mmmuse.Numbers')
    hooks = [dict(type=PREEMPTION), send_signal(step=4), numbers]
    with pytest.raises(Stopped):
        start('self', tmp_path, tmp_path / 'run', custom_hooks=hooks)
    forget()
    start('self', tmp_path, tmp_path / 'run', custom_hooks=[dict(type=PREEMPTION), numbers])
    assert noted == [(step // 3, step, step % 3) for step in range(9)]


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


def test_a_run_that_is_preempted_in_its_first_step_keeps_its_log_and_config(tmp_path):
    hooks = [dict(type=PREEMPTION), send_signal(step=1)]
    with pytest.raises(Stopped):
        start('self', tmp_path, tmp_path / 'run', custom_hooks=hooks)
    assert len(list((tmp_path / 'run').glob('*/*.log'))) == 1
    assert (tmp_path / 'run' / 'runs.py').exists()


class StepError(Exception):
    """Of the hook below."""


@HOOKS.register_module(force=True)
class Fail(Hook):
    """Ends a run in a step."""

    def __init__(self, step: int) -> None:
        self.step = step

    def before_train_iter(self, runner, batch_idx, data_batch=None) -> None:
        if runner.iter + 1 == self.step:
            raise StepError


def test_a_run_that_resumes_with_an_evaluation_and_fails_in_its_first_step_keeps_its_log(tmp_path):
    sent = send_signal(evaluation=1)
    with pytest.raises(Stopped):
        start('self', tmp_path, tmp_path / 'run', custom_hooks=[dict(type=PREEMPTION), sent])
    forget()
    for log in (tmp_path / 'run').glob('*/'):  # Both starts may be of one second.
        shutil.rmtree(log)
    with pytest.raises(StepError):
        start('self', tmp_path, tmp_path / 'run', custom_hooks=[dict(type='mmmuse.Fail', step=4)])
    assert [step for step, _ in scalars(tmp_path / 'run', 'accuracy/top1')] == [1]


@pytest.mark.parametrize('interval', [2, 3, 4])
def test_a_run_that_saves_within_epochs_goes_on_within_the_epoch(tmp_path, interval):
    changes = {
        'default_hooks.checkpoint.by_epoch': False,
        'default_hooks.checkpoint.interval': interval,
    }
    start('self', tmp_path, tmp_path / 'straight', **changes)
    forget()
    failing = [dict(type='mmmuse.Fail', step=6)]
    with pytest.raises(StepError):
        start('self', tmp_path, tmp_path / 'run', custom_hooks=failing, **changes)
    forget()
    start('self', tmp_path, tmp_path / 'run', **changes)
    assert differences(tmp_path / 'run', tmp_path / 'straight') == []


def test_a_signal_in_an_evaluation_stops_at_once_where_the_epoch_was_saved(straight, tmp_path):
    work_dir = preempted('ema', tmp_path, send_signal(evaluation=2), finished=False)
    assert differences(work_dir, straight) == []


def test_a_signal_in_an_evaluation_saves_after_it_where_the_epoch_was_not_saved(tmp_path):
    changes = {'default_hooks.checkpoint.interval': 3}
    start('ema', tmp_path, tmp_path / 'straight', **changes)
    forget()
    work_dir = preempted('ema', tmp_path, send_signal(evaluation=2), **changes)
    assert differences(work_dir, tmp_path / 'straight') == []


@pytest.mark.parametrize('step', [3, 4, 8])
def test_an_iteration_based_run_is_preempted_too(tmp_path, step):
    # It saves every second step, and the last one is 8.
    start(
        'iterations',
        tmp_path,
        tmp_path / 'straight',
        custom_hooks=[dict(type='EMAHook', momentum=0.1)],
    )
    forget()
    work_dir = preempted('iterations', tmp_path, send_signal(step=step))
    assert differences(work_dir, tmp_path / 'straight') == []


def test_a_step_that_was_saved_is_not_saved_again(tmp_path):
    for step, last in ((3, 'preempted.pth'), (4, 'iter_4.pth')):
        hooks = [dict(type=PREEMPTION), send_signal(step=step)]
        with pytest.raises(Stopped):
            start('iterations', tmp_path, tmp_path / 'run', custom_hooks=hooks)
        forget()
        assert Path((tmp_path / 'run' / 'last_checkpoint').read_text()).name == last


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


@pytest.mark.parametrize(
    ('when', 'again', 'steps'),
    [
        (dict(step=2), [], 2 + 18),
        (dict(step=2), [dict(step=5)], 2 + 18),
        (dict(step=1), [dict(step=5), dict(step=6)], 1 + 18),
        (dict(evaluation=1), [], 3 + 12),
    ],
)
@pytest.mark.parametrize('accumulated', [2, 3])
def test_another_number_of_batches_leaves_no_gradients_at_the_end(
    when, again, steps, accumulated, tmp_path
):
    changes = {
        'default_hooks.checkpoint.interval': 3,
        'optim_wrapper.accumulative_counts': accumulated,
    }
    for number, each in enumerate([when, *again]):
        hooks = [dict(type=PREEMPTION), send_signal(**each)]
        batches = {'train_dataloader.batch_size': 4} if number else {}
        with pytest.raises(Stopped):
            start(
                'accumulated', tmp_path, tmp_path / 'run', custom_hooks=hooks, **changes, **batches
            )
        forget()
    changes['train_dataloader.batch_size'] = 4
    start('accumulated', tmp_path, tmp_path / 'run', **changes)
    last = read(tmp_path / 'run' / 'epoch_3.pth')
    assert last['meta']['iter'] == steps
    assert 'gradients' not in last  # Those of the last steps have updated the weights.


def test_an_epoch_that_started_again_continues_after_the_batches_that_were_done(tmp_path):
    for step, changes in ((2, {}), (5, {'train_dataloader.batch_size': 4})):
        hooks = [dict(type=PREEMPTION), send_signal(step=step)]
        with pytest.raises(Stopped):
            start('self', tmp_path, tmp_path / 'run', custom_hooks=hooks, **changes)
        forget()
    assert read(tmp_path / 'run' / 'preempted.pth')['meta']['batches_done'] == 3
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
