import pytest
import torch

from mmmuse.metrics import ExitAccuracy


def sample(label: int, *rows: list[float]) -> dict:
    """A sample whose last row is the student's own scores."""
    *exits, last = (torch.tensor(row) for row in rows)
    return dict(gt_label=torch.tensor([label]), exit_scores=torch.stack(exits), pred_score=last)


# Exit 1 is right once of four, exit 2 twice, the student three times; among their first two labels
# they have 2, 3 and 4.
SAMPLES = [
    sample(0, [0.6, 0.3, 0.1], [0.7, 0.2, 0.1], [0.8, 0.1, 0.1]),
    sample(1, [0.5, 0.4, 0.1], [0.1, 0.8, 0.1], [0.2, 0.7, 0.1]),
    sample(2, [0.6, 0.3, 0.1], [0.5, 0.1, 0.4], [0.1, 0.2, 0.7]),
    sample(0, [0.1, 0.3, 0.6], [0.1, 0.5, 0.4], [0.4, 0.5, 0.1]),
]


@pytest.mark.parametrize(
    ('topk', 'expected'),
    [
        (1, {'exit1/top1': 25.0, 'exit2/top1': 50.0, 'exit3/top1': 75.0}),
        (
            (1, 2),
            {
                'exit1/top1': 25.0,
                'exit1/top2': 50.0,
                'exit2/top1': 50.0,
                'exit2/top2': 75.0,
                'exit3/top1': 75.0,
                'exit3/top2': 100.0,
            },
        ),
    ],
)
def test_a_handmade_example(topk, expected):
    metric = ExitAccuracy(topk)
    metric.process(None, SAMPLES[:3])
    metric.process(None, SAMPLES[3:])
    assert metric.evaluate(4) == expected


def test_padding_of_the_last_batch_is_not_counted():
    metric = ExitAccuracy()
    metric.process(None, SAMPLES)
    assert metric.evaluate(1) == {'exit1/top1': 100.0, 'exit2/top1': 100.0, 'exit3/top1': 100.0}


def test_an_evaluation_starts_anew():
    metric = ExitAccuracy()
    metric.process(None, SAMPLES[:1])
    metric.evaluate(1)
    metric.process(None, SAMPLES[2:3])
    assert metric.evaluate(1)['exit1/top1'] == 0.0


def test_a_prefix_goes_before_the_names():
    metric = ExitAccuracy(prefix='val')
    metric.process(None, SAMPLES[:1])
    assert set(metric.evaluate(1)) == {'val/exit1/top1', 'val/exit2/top1', 'val/exit3/top1'}


def test_is_silent_without_exits(monkeypatch):
    messages = []
    monkeypatch.setattr(
        'mmengine.evaluator.metric.print_log',
        lambda message, *args, **kwargs: messages.append(message),
    )
    metric = ExitAccuracy()
    metric.process(None, [dict(gt_label=torch.tensor([0]), pred_score=torch.tensor([0.9, 0.1]))])
    assert metric.evaluate(1) == {}
    assert messages == []
