from types import SimpleNamespace

import pytest
import torch

from mmmuse.errors import InputError
from mmmuse.hooks import InformationLoggerHook


class Recorder:
    def __init__(self):
        self.points = []

    def add_scalars(self, scalars, step):
        self.points.append((step, scalars))


def run(hook: InformationLoggerHook, outputs: list[dict], start: int = 0) -> list[tuple[int, dict]]:
    """Train as MMEngine's loop does: the iteration is counted after the hooks."""
    recorder = Recorder()
    runner = SimpleNamespace(iter=start, visualizer=recorder, model=torch.nn.Identity())
    for i, output in enumerate(outputs):
        hook.after_train_iter(runner, i, None, output)
        runner.iter += 1
    hook.after_train(runner)
    return recorder.points


def test_writes_exact_means_every_interval_and_the_remainder_at_the_end():
    outputs = [
        dict(
            mi_loss_1=torch.tensor(float(i)),
            si_loss_1=torch.tensor(10.0 * i),
            loss=torch.tensor(9.0),
        )
        for i in range(1, 9)
    ]
    assert run(InformationLoggerHook(interval=3), outputs) == [
        (3, {'information/mi_loss_1': 2.0, 'information/si_loss_1': 20.0}),
        (6, {'information/mi_loss_1': 5.0, 'information/si_loss_1': 50.0}),
        (8, {'information/mi_loss_1': 7.5, 'information/si_loss_1': 75.0}),
    ]


def test_means_are_of_the_steps_that_have_a_loss():
    outputs = [dict(mi_loss_1=torch.tensor(1.0))] * 2 + [dict(si_loss_1=torch.tensor(6.0))]
    assert run(InformationLoggerHook(interval=3), outputs) == [
        (3, {'information/mi_loss_1': 1.0, 'information/si_loss_1': 6.0})
    ]


def test_an_interval_whose_last_steps_have_no_terms_is_written_at_its_end():
    outputs = [dict(mi_loss_1=torch.tensor(2.0))] * 2 + [{}] * 5
    points = run(InformationLoggerHook(interval=3), outputs)
    assert points == [(3, {'information/mi_loss_1': 2.0})]


def test_writes_nothing_at_the_end_of_a_whole_interval():
    outputs = [dict(si_loss_12=torch.tensor(1.0))] * 4
    points = run(InformationLoggerHook(interval=2), outputs)
    assert points == [(2, {'information/si_loss_12': 1.0}), (4, {'information/si_loss_12': 1.0})]


@pytest.mark.parametrize(
    'output',
    [
        None,
        {},
        dict(loss=torch.tensor(1.0)),
        dict(mi_loss=torch.tensor(1.0)),
        {
            'exit1/mi_loss_1': torch.tensor(1.0),
            'a.b.mi_loss_1': torch.tensor(1.0),
            'mi_loss_': torch.tensor(1.0),
            'xmi_loss_1': torch.tensor(1.0),
        },
    ],
)
def test_steps_without_information_terms_are_passed_over(output):
    assert run(InformationLoggerHook(interval=1), [output] * 3) == []


def test_a_peers_terms_keep_its_name():
    points = run(InformationLoggerHook(interval=1), [{'a.mi_loss_1': torch.tensor(2.0)}])
    assert points == [(1, {'information/a.mi_loss_1': 2.0})]


def test_an_interval_below_one_is_refused():
    with pytest.raises(InputError, match='at least 1, got 0'):
        InformationLoggerHook(interval=0)
