import os
from pathlib import Path

import pytest
import torch
from mmengine.evaluator import BaseMetric, Evaluator
from mmengine.registry import DefaultScope, init_default_scope
from mmengine.structures import BaseDataElement
from mmpretrain.registry import METRICS
from mmpretrain.structures import DataSample

from mmmuse.errors import InputError
from mmmuse.metrics import PeerMetric

from ..two_processes import in_two_processes

ACCURACY = dict(type='Accuracy', topk=(1, 2))


@pytest.fixture(autouse=True)
def _scope():
    with DefaultScope.overwrite_default_scope('mmpretrain'):
        yield


@METRICS.register_module()
class Parts(BaseMetric):
    """Reports things that have no mean, and what it has been told of the data."""

    default_prefix = 'parts'

    def process(self, data_batch, data_samples):
        self.results += [sample['pred_label'].item() for sample in data_samples]

    def compute_metrics(self, results):
        own = {f'only{results[0]}': 1.0}
        return {'labels': results, 'classes': self.dataset_meta['classes'], 'number': 2.0, **own}


def prediction(label: int, *scores: float) -> dict:
    score = torch.tensor(scores)
    return dict(gt_label=torch.tensor([label]), pred_score=score, pred_label=score.argmax()[None])


def two(label: int, of_a: tuple, of_b: tuple) -> dict:
    """A sample of two networks; the first one's fields are also those of the sample."""
    peers = dict(a=prediction(label, *of_a), b=prediction(label, *of_b))
    return dict(**peers['a'], peers=peers)


# Peer a is right once of four, b three times; among their first two labels they have 2 and 4.
SAMPLES = [
    two(0, (0.6, 0.3, 0.1), (0.8, 0.1, 0.1)),
    two(1, (0.5, 0.4, 0.1), (0.2, 0.7, 0.1)),
    two(2, (0.6, 0.3, 0.1), (0.1, 0.2, 0.7)),
    two(0, (0.1, 0.3, 0.6), (0.4, 0.5, 0.1)),
]
EXPECTED = {
    'average/accuracy/top1': 50.0,
    'average/accuracy/top2': 75.0,
    'a/accuracy/top1': 25.0,
    'a/accuracy/top2': 50.0,
    'b/accuracy/top1': 75.0,
    'b/accuracy/top2': 100.0,
}


def test_the_average_stands_first_and_then_each_peer():
    metric = PeerMetric(ACCURACY)
    metric.process(None, SAMPLES[:3])
    metric.process(None, SAMPLES[3:])
    metrics = metric.evaluate(4)
    assert metrics == EXPECTED
    assert list(metrics) == list(EXPECTED)


def test_padding_of_the_last_batch_is_not_counted():
    metric = PeerMetric(ACCURACY)
    metric.process(None, SAMPLES)
    assert metric.evaluate(1)['average/accuracy/top1'] == 100.0


def test_an_evaluation_starts_anew_also_with_other_peers():
    metric = PeerMetric(ACCURACY)
    metric.process(None, SAMPLES)
    metric.evaluate(4)
    of_b = SAMPLES[1]['peers']['b']
    metric.process(None, [dict(of_b, peers=dict(b=of_b))])
    assert metric.evaluate(1) == {
        'average/accuracy/top1': 100.0,
        'average/accuracy/top2': 100.0,
        'b/accuracy/top1': 100.0,
        'b/accuracy/top2': 100.0,
    }
    assert metric.evaluate(0) == {}


def test_a_plain_network_has_its_metrics_under_their_own_names():
    metric = PeerMetric(ACCURACY)
    metric.process(None, [sample['peers']['a'] for sample in SAMPLES])
    assert metric.evaluate(4) == {'accuracy/top1': 25.0, 'accuracy/top2': 50.0}


def as_elements(sample: dict, nested: bool) -> DataSample:
    """The sample as a model gives it; of a dict of elements MMEngine's evaluator makes no dicts."""
    of_peers = {}
    for name, fields in sample['peers'].items():
        of_peers[name] = DataSample()
        for key in ('pred_score', 'pred_label'):  # The ground truth is the sample's.
            of_peers[name].set_field(fields[key], key)
    whole = DataSample().set_gt_label(sample['gt_label'])
    whole.set_field(BaseDataElement(**of_peers) if nested else of_peers, 'peers')
    return whole


@pytest.mark.parametrize('nested', [False, True])
def test_peers_may_be_data_elements_without_a_ground_truth_of_their_own(nested):
    evaluator = Evaluator(dict(type='mmmuse.PeerMetric', metric=ACCURACY))
    evaluator.process([as_elements(sample, nested) for sample in SAMPLES])
    assert evaluator.evaluate(4) == EXPECTED


def test_only_numbers_that_all_peers_have_are_averaged():
    metric = PeerMetric([ACCURACY, dict(type='Parts')])
    metric.dataset_meta = dict(classes=('x', 'y', 'z'))
    metric.process(None, SAMPLES[1:2])
    metrics = metric.evaluate(1)
    assert {name for name in metrics if name.startswith('average/')} == {
        'average/accuracy/top1',
        'average/accuracy/top2',
        'average/parts/number',
    }
    assert metrics['b/parts/labels'] == [1]
    assert metrics['b/parts/classes'] == ('x', 'y', 'z')
    assert metrics['a/parts/only0'] == metrics['b/parts/only1'] == 1.0


def test_what_cannot_be_right_is_refused():
    sample = SAMPLES[0]['peers']['a']
    metric = PeerMetric(ACCURACY)
    with pytest.raises(InputError, match="a peer cannot be named 'average'"):
        metric.process(None, [dict(sample, peers=dict(average=sample))])
    with pytest.raises(KeyError, match='Accurazy'):
        PeerMetric(dict(type='Accurazy'))


def test_the_config_stays_as_it_is():
    config = dict(type='Accuracy', topk=(1, 2))
    metric = PeerMetric(config)
    metric.process(None, SAMPLES)
    assert config == dict(type='Accuracy', topk=(1, 2))


def evaluate_a_share(rank: int, folder: str) -> None:
    """One of two processes."""
    os.chdir(folder)  # Where MMEngine gathers.
    init_default_scope('mmpretrain')
    metric = PeerMetric(ACCURACY)
    # As a sampler shares them out; the second process sees them the other way round.
    shares = [SAMPLES[rank::2], SAMPLES[1:3] if rank else []]
    evaluated = []
    for share in shares:
        if rank:
            share = [dict(s, peers=dict(reversed(s['peers'].items()))) for s in share]
        if share:
            metric.process(None, share)
        evaluated.append(list(metric.evaluate(4).items()))
    torch.save(evaluated, f'{folder}/{rank}.pt')


@pytest.mark.slow
def test_two_processes_gather_also_where_one_has_seen_no_sample(tmp_path: Path):
    in_two_processes(evaluate_a_share, tmp_path)
    first, second = (torch.load(tmp_path / f'{rank}.pt') for rank in (0, 1))
    assert first == second
    whole, of_one = map(dict, first)
    assert whole == EXPECTED
    assert next(iter(of_one.items())) == ('average/accuracy/top1', 50.0)
    assert of_one['a/accuracy/top1'] == 0.0
    assert of_one['b/accuracy/top1'] == 100.0
