import pytest

from mmmuse.analysis.evaluations import read_evaluations
from mmmuse.errors import InputError

from .logs import evaluation, training, write_records


def evaluated(tmp_path, *records):
    return read_evaluations(write_records(tmp_path, '1', list(records)))


def test_exits_belong_to_the_metric_of_the_network(tmp_path):
    metrics = {'accuracy/top1': 60.0, 'accuracy/top5': 90.0}
    exits = {'exit1/top1': 40.0, 'exit10/top1': 60.00001, 'exit1/top5': 80.0}
    found = evaluated(tmp_path, training(5, loss=1.0), evaluation(1, **metrics, **exits))
    assert (found.metric, found.unit, found.last) == ('accuracy/top1', '%', 1)
    (network,) = found.networks.values()
    assert network.full == {1: 60.0}
    assert network.exits == {1: {1: 40.0}, 10: {1: 60.00001}}
    assert list(network.exits) == [1, 10]
    assert network.full_number == 10  # Equal but for rounding.


def test_the_full_detector_is_none_of_its_logged_exits(tmp_path):
    metrics = {'coco/bbox_mAP': 0.5, 'coco/bbox_mAP_50': 0.75, 'exit1/coco/bbox_mAP': 0.25}
    found = evaluated(tmp_path, evaluation(2, **metrics))
    assert (found.metric, found.unit) == ('coco/bbox_mAP', '0 to 1')
    assert found.networks[None].exits == {1: {2: 0.25}}
    assert found.networks[None].full_number is None


def test_a_segmenter_is_judged_by_its_miou_in_percent(tmp_path):
    metrics = {'aAcc': 92.0, 'mIoU': 79.0, 'IoU/cell': 91.0, 'exit3/mIoU': 78.0, 'exit3/aAcc': 91.0}
    found = evaluated(tmp_path, evaluation(2, **metrics))
    assert (found.metric, found.title, found.unit) == ('mIoU', 'mIoU', '%')
    assert found.networks[None].exits == {3: {2: 78.0}}


@pytest.mark.parametrize(
    ('metrics', 'metric', 'unit', 'lower'),
    [
        (dict(feature_loss=2.0, **{'knn/top1': 40.0}), 'knn/top1', '%', False),
        (dict(feature_loss=2.0, score=0.5), 'score', '', False),
        (dict(feature_loss=2.0), 'feature_loss', '', True),
        ({'coco_panoptic/PQ': 45.0}, 'coco_panoptic/PQ', '', False),
    ],
)
def test_a_metric_whose_unit_is_not_known_has_none_and_a_loss_is_not_preferred(
    tmp_path, metrics, metric, unit, lower
):
    found = evaluated(tmp_path, evaluation(1, **metrics))
    assert (found.metric, found.unit, found.lower_is_better) == (metric, unit, lower)


def test_an_exit_of_a_detector_that_is_as_good_as_the_full_network_is_an_exit(tmp_path):
    metrics = {'coco/bbox_mAP': 0.0, 'exit1/coco/bbox_mAP': 0.0, 'exit2/coco/bbox_mAP': 0.0}
    found = evaluated(tmp_path, evaluation(1, **metrics))
    assert found.networks[None].full_number is None


def test_the_last_exit_of_several_labels_is_the_full_network_if_it_is_as_good_in_every_evaluation(
    tmp_path,
):
    metric = 'multi-label/mAP'
    first = {metric: 50.0, f'exit1/{metric}': 40.0, f'exit2/{metric}': 50.0}
    second = {metric: 66.5, f'exit1/{metric}': 50.0, f'exit2/{metric}': 66.5}
    found = evaluated(tmp_path / 'a', evaluation(1, **first), evaluation(2, **second))
    assert found.networks[None].full_number == 2
    assert found.networks[None].shallow_exits == {1: {1: 40.0, 2: 50.0}}
    worse = {**second, f'exit2/{metric}': 66.0}
    found = evaluated(tmp_path / 'b', evaluation(1, **first), evaluation(2, **worse))
    assert found.networks[None].full_number is None


def test_an_exit_is_no_peer(tmp_path):
    metrics = {'average/top1': 15.0, 'a/top1': 10.0, 'b/top1': 20.0, 'exit1/top1': 5.0}
    found = evaluated(tmp_path, evaluation(1, **metrics))
    assert list(found.networks) == ['a', 'b']


def test_each_peer_is_a_network_and_the_mean_is_none(tmp_path):
    metrics = {f'{name}/accuracy/top1': value for name, value in dict(average=5, b=6, a=4).items()}
    found = evaluated(tmp_path, evaluation(1, **metrics))
    assert found.metric == 'accuracy/top1'
    assert {name: network.full for name, network in found.networks.items()} == {
        'a': {1: 4},
        'b': {1: 6},
    }


def test_a_resumed_run_replaces_the_epochs_that_it_repeats(tmp_path):
    first = [evaluation(epoch, **{'accuracy/top1': 10.0 * epoch}) for epoch in (1, 2, 3)]
    write_records(tmp_path, '1', first)
    write_records(tmp_path, '2', [evaluation(3, **{'accuracy/top1': 35.0})])
    assert read_evaluations(tmp_path).networks[None].full == {1: 10.0, 2: 20.0, 3: 35.0}


def test_a_run_that_was_not_evaluated_has_no_metric(tmp_path):
    found = evaluated(tmp_path, training(5, loss=1.0), evaluation(1, note='text'))
    assert (found.metric, found.networks, found.last) == (None, {}, None)


def test_a_log_of_too_many_exits_is_refused(tmp_path):
    exits = {f'exit{i}/top1': 1.0 for i in range(1, 200)}
    with pytest.raises(InputError, match='200 networks and exits; at most 100'):
        evaluated(tmp_path, evaluation(1, **{'accuracy/top1': 1.0}, **exits))


@pytest.mark.parametrize(
    ('line', 'message'),
    [
        ({'accuracy/top1': 1.0}, "has the step 'None'"),
        ({'accuracy/top1': 1.0, 'step': 'two'}, "has the step 'two'"),
        ({'accuracy/top1': 1.0, 'step': -1}, "has the step '-1'"),
        ({'accuracy/top1': 10**400, 'step': 1}, 'not a number'),
    ],
)
def test_a_damaged_line_is_named(tmp_path, line, message):
    with pytest.raises(InputError, match='is damaged') as error:
        evaluated(tmp_path, line)
    assert message in str(error.value)
