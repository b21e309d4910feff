import pytest
import torch
from mmengine.evaluator import Evaluator
from mmpretrain.evaluation import MultiLabelMetric

from mmmuse.errors import InputError
from mmmuse.metrics import ExitAccuracy, ExitMetric

# Three classes; exit 1 finds every label, exit 2 none, the student the first image's.
GOOD, BAD = torch.tensor([0.9, 0.1, 0.8]), torch.tensor([0.1, 0.9, 0.2])


def sample(labels: list[int], *rows: torch.Tensor) -> dict:
    *exits, last = rows
    return dict(
        gt_label=torch.tensor(labels),
        exit_scores=torch.stack(exits),
        pred_score=last,
        pred_label=torch.tensor([0]),
    )


SAMPLES = [sample([0, 2], GOOD, BAD, GOOD), sample([0, 2], GOOD, BAD, BAD)]


def evaluate(metric: dict | list, samples: list) -> dict:
    evaluator = Evaluator(ExitMetric(metric))
    evaluator.process(samples)
    return evaluator.evaluate(len(samples))


def test_each_exit_has_the_metrics_of_its_scores():
    found = evaluate(dict(type='MultiLabelMetric', thr=0.5, average='micro'), SAMPLES)
    recalls = {name: value for name, value in found.items() if 'recall' in name}
    assert recalls == {
        'exit1/multi-label/recall_micro': 100.0,
        'exit2/multi-label/recall_micro': 0.0,
        'exit3/multi-label/recall_micro': 50.0,
    }


def test_the_last_exit_is_the_student():
    found = evaluate(dict(type='MultiLabelMetric', thr=0.5), SAMPLES)
    plain = Evaluator(MultiLabelMetric(thr=0.5))
    plain.process(SAMPLES)
    for name, value in plain.evaluate(2).items():
        assert found[f'exit3/{name}'] == value


def test_a_plain_network_has_no_metrics():
    samples = [{key: value for key, value in SAMPLES[0].items() if key != 'exit_scores'}]
    assert evaluate(dict(type='MultiLabelMetric', thr=0.5), samples) == {}


def test_several_labels_are_no_matter_of_exit_accuracy():
    with pytest.raises(InputError, match=r"use dict\(type='mmmuse.ExitMetric'"):
        ExitAccuracy().process(None, SAMPLES)
