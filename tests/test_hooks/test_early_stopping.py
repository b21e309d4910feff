import pytest
import torch
from mmengine.evaluator import BaseMetric
from mmengine.hooks import Hook

from mmmuse.errors import InputError, Stopped
from mmmuse.registry import HOOKS, METRICS

from ..kills.comparison import differences, read
from ..kills.runs import start
from .test_preemption import PREEMPTION, scalars, send_signal
from .test_safe_checkpoint import forget

MONITOR = 'accuracy/top1'
# min_delta exceeds the range of the accuracy, so no epoch, or each of them, counts as an improvement.
NEVER_BETTER = dict(min_delta=101.0, patience=2)
ALWAYS_BETTER = dict(min_delta=-101.0, patience=2)
# The epochs' accuracies are 10, 12.5 and 12.5 %.
REACHED = dict(stopping_threshold=11.0)


def stopping(**options) -> dict:
    return dict(type='EarlyStoppingHook', **dict(dict(monitor=MONITOR), **options))


@pytest.fixture(autouse=True)
def _fresh():
    yield
    forget()


@METRICS.register_module(force=True)
class NanFrom(BaseMetric):
    """A metric that is 1 and, from the second epoch on, no number."""

    default_prefix = 'probe'

    def process(self, data_batch, data_samples) -> None:
        self.results.append(0)

    def compute_metrics(self, results) -> dict:
        return dict(score=float('nan') if NoteEpoch.epoch >= 2 else 1.0)


@HOOKS.register_module(force=True)
class NoteEpoch(Hook):
    """Notes the epoch for the metric above."""

    epoch = 0

    def before_val_epoch(self, runner) -> None:
        NoteEpoch.epoch = runner.epoch


NAN = {
    'val_evaluator': [dict(type='Accuracy', topk=1), dict(type='mmmuse.NanFrom')],
    'default_hooks.checkpoint.save_best': MONITOR,
}


def epochs(work_dir) -> list[int]:
    return sorted(int(path.stem.split('_')[1]) for path in work_dir.glob('epoch_*.pth'))


def trained(hooks: list[dict], folder, name: str, *sent: dict, **changes) -> list[int]:
    """Train until each of the signals, and then to the end; return the last epoch."""
    hooks = [dict(type=PREEMPTION), dict(type='mmmuse.NoteEpoch'), *hooks]
    changes = {'train_cfg.max_epochs': 5, **changes}
    for each in sent:
        with pytest.raises(Stopped):
            start('self', folder, folder / name, custom_hooks=[*hooks, each], **changes)
        forget()
    start('self', folder, folder / name, custom_hooks=hooks, **changes)
    forget()
    return epochs(folder / name)


@pytest.mark.parametrize(
    ('hooks', 'sent', 'changes', 'last'),
    [
        pytest.param([stopping(**NEVER_BETTER)], dict(step=5), {}, 3, id='in a step'),
        pytest.param([stopping(**NEVER_BETTER)], dict(step=6), {}, 3, id='in the last step'),
        pytest.param([stopping(**NEVER_BETTER)], dict(evaluation=2), {}, 3, id='in an evaluation'),
        pytest.param(
            [stopping(**ALWAYS_BETTER | dict(patience=0))], dict(step=5), {}, 5, id='no patience'
        ),
        pytest.param(
            # Two hooks of one metric.
            [
                stopping(**ALWAYS_BETTER | dict(patience=4)),
                stopping(**NEVER_BETTER | dict(patience=3)),
            ],
            dict(step=11),
            {},
            4,
            id='two hooks',
        ),
        pytest.param(
            [stopping(monitor='probe/score', rule='greater', check_finite=False)],
            dict(step=8),
            NAN,
            5,
            id='nan',
        ),
    ],
)
def test_a_resumed_run_stops_where_an_uninterrupted_one_does(hooks, sent, changes, last, tmp_path):
    assert trained(hooks, tmp_path, 'straight', **changes) == [last]
    assert trained(hooks, tmp_path, 'run', send_signal(**sent), **changes) == [last]
    if changes is not NAN:  # The state is compared, too, and NaN differs from NaN.
        assert differences(tmp_path / 'run', tmp_path / 'straight') == []


@pytest.mark.parametrize('options', [NEVER_BETTER, REACHED])
def test_a_run_that_has_stopped_does_not_train_on_when_it_is_resumed(options, tmp_path):
    for _ in range(2):
        assert trained([stopping(**options)], tmp_path, 'run') == [2 if options is REACHED else 3]


@pytest.mark.parametrize(
    ('options', 'changes', 'evaluation'),
    [
        (NEVER_BETTER, {}, 3),
        (REACHED, {}, 2),
        (dict(monitor='probe/score', rule='greater'), NAN, 2),
    ],
)
def test_a_run_whose_checkpoint_has_the_evaluation_that_stopped_it_does_not_train_on(
    options, changes, evaluation, tmp_path
):
    # No epoch is saved, so PreemptionHook saves after the evaluation.
    changes = changes | {'default_hooks.checkpoint.interval': 100}
    changes['default_hooks.checkpoint.save_best'] = None
    sent = send_signal(evaluation=evaluation)
    assert trained([stopping(**options)], tmp_path, 'run', sent, **changes) == []
    assert read(tmp_path / 'run' / 'preempted.pth')['meta']['epoch'] == evaluation
    evaluated = [epoch for epoch, _ in scalars(tmp_path / 'run', MONITOR)]
    assert evaluated == list(range(1, evaluation + 1))


def test_a_larger_patience_lets_it_go_on(tmp_path):
    for patience, last in ((1, 2), (3, 4)):
        assert trained([stopping(**NEVER_BETTER | dict(patience=patience))], tmp_path, 'run') == [
            last
        ]


@pytest.mark.parametrize(
    'states',
    ['a', {MONITOR: (1.0, 1)}, [MONITOR], [(MONITOR, 1.0, -1, 1.0)], [(MONITOR, 1.0, 1, 'a')]],
)
def test_a_checkpoint_with_another_state_is_refused(states, tmp_path):
    hooks = [stopping(**NEVER_BETTER)]
    changes = {'custom_hooks': hooks, 'train_cfg.max_epochs': 1}
    start('self', tmp_path, tmp_path / 'run', **changes)
    forget()
    path = tmp_path / 'run' / 'epoch_1.pth'
    content = read(path)
    content['message_hub']['runtime_info']['early_stopping'] = states
    torch.save(content, path)
    with pytest.raises(
        InputError, match=r"'early_stopping' of the checkpoint is .*, not a list of"
    ):
        start('self', tmp_path, tmp_path / 'run', custom_hooks=hooks)
