"""Exits and peers that were never trained or loaded do not answer."""

from copy import deepcopy

import pytest
import torch
from mmengine.config import Config
from mmengine.evaluator import Evaluator
from mmengine.runner import load_checkpoint
from mmengine.runner import save_checkpoint as save
from mmpretrain import get_model

from mmmuse.checkpoints import load_distiller
from mmmuse.checkpoints.state_dicts import DISTILLER_KEY, split_state_dict, with_plain_names
from mmmuse.distillers import SelfDistiller
from mmmuse.errors import InputError
from mmmuse.registry import METRICS, MODELS

from ..conftest import TAPS, labelled, small_classifier_config, small_distiller
from .transfer import TAPS as PEER_TAPS
from .transfer import batch, network
from .transfer import online as online_pair

IMAGES = torch.randn(2, 3, 16, 16)


def config(**changes) -> dict:
    return dict(
        type='mmmuse.SelfDistiller',
        student=small_classifier_config(),
        taps=TAPS,
        head=dict(type='mmmuse.MUSEHead'),
        neck=dict(type='mmmuse.SelfDistillNeck'),
        **changes,
    )


def fresh() -> SelfDistiller:
    return MODELS.build(config())


def predict(distiller) -> list:
    return distiller.eval()(IMAGES, labelled([0, 1]), mode='predict')


def has_exits(distiller) -> bool:
    return all('exit_scores' in sample for sample in predict(distiller))


def write(path, distiller) -> str:
    weights = distiller.state_dict()
    content = dict(meta={}, state_dict=with_plain_names(weights))
    content[DISTILLER_KEY] = split_state_dict(weights)[1]
    save(content, str(path))
    return str(path)


def test_before_training_the_student_predicts_alone(caplog):
    distiller = fresh()
    for found, expected in zip(predict(distiller), distiller.student(IMAGES, mode='predict')):
        assert torch.equal(found.pred_score, expected.pred_score)
        assert 'exit_scores' not in found
        assert found.untrained.startswith(
            'adapters, muse.exits of the SelfDistiller were never trained or loaded: '
        )


def test_a_training_step_makes_the_exits_predict():
    distiller = fresh().train()
    distiller(IMAGES, labelled([0, 1]), mode='loss')
    assert has_exits(distiller)


@pytest.mark.parametrize('training', [True, False])
def test_losses_of_an_evaluation_do_not(training):
    distiller = fresh().train(training)
    with torch.no_grad():
        distiller(IMAGES, labelled([0, 1]), mode='loss')
    assert not has_exits(distiller)


def test_weights_of_both_parts_do_and_those_of_the_student_do_not():
    weights = fresh().state_dict()
    distiller = fresh()
    distiller.load_state_dict(with_plain_names(weights), strict=False)
    assert not has_exits(distiller)
    distiller.load_state_dict(split_state_dict(weights)[1], strict=False)
    assert has_exits(distiller)
    whole = fresh()
    whole.load_state_dict(weights)
    assert has_exits(whole)


def test_names_of_an_earlier_version_do():
    weights = {
        name.replace('muse.', 'head.').replace('adapters.branches', 'neck.bottlenecks'): value
        for name, value in fresh().state_dict().items()
    }
    assert any(name.startswith('head.exits.') for name in weights)
    distiller = fresh()
    distiller.load_state_dict(weights)
    assert has_exits(distiller)


@pytest.mark.parametrize('left_out', ['muse.exits.1.fc.bias', 'adapters.branches.0.0.conv.weight'])
def test_a_part_of_them_does_not(left_out):
    weights = fresh().state_dict()
    del weights[left_out]
    distiller = fresh()
    distiller.load_state_dict(weights, strict=False)
    assert not has_exits(distiller)


def test_tensors_of_another_shape_are_not_loaded(tmp_path):
    weights = fresh().state_dict()
    weights['muse.exits.0.fc.weight'] = torch.zeros(7, 64)
    torch.save(weights, tmp_path / 'a.pth')
    distiller = fresh()
    load_checkpoint(distiller, str(tmp_path / 'a.pth'))  # MMEngine's warns and goes on.
    assert not has_exits(distiller)


def test_a_copy_knows_what_the_original_knew_and_learns_by_itself():
    distiller = fresh()
    copy = deepcopy(distiller)
    distiller.load_state_dict(distiller.state_dict())
    assert (has_exits(distiller), has_exits(copy)) == (True, False)
    assert has_exits(deepcopy(distiller))


def test_initialising_anew_forgets_them():
    distiller = fresh()
    distiller.load_state_dict(distiller.state_dict())
    distiller.init_weights()
    assert not has_exits(distiller)


def test_it_is_not_in_the_state_dict():
    assert {name.split('.')[0] for name in fresh().state_dict()} == {'student', 'muse', 'adapters'}


def test_early_exits_are_refused_until_both_parts_of_the_file_are_loaded(tmp_path):
    trained = small_distiller('ce_kd')
    path = write(tmp_path / 'epoch_1.pth', trained)
    early = {**config(), 'type': 'mmmuse.EarlyExitClassifier', 'thresholds': [0.5] * 3}
    model = get_model(Config(dict(model=early)), pretrained=path)
    assert torch.equal(model.student.head.fc.weight, trained.student.head.fc.weight)
    for mode in ('tensor', 'predict'):
        with pytest.raises(InputError, match='were never trained or loaded: get_model'):
            model(IMAGES, mode=mode)
    load_distiller(model, path)
    assert torch.equal(model.muse.exits[0].fc.weight, trained.muse.exits[0].fc.weight)
    assert model(IMAGES).shape == (2, 5)


def test_a_plain_file_is_refused_where_both_parts_are_asked_for(tmp_path):
    path = str(tmp_path / 'plain.pth')
    torch.save(MODELS.build(small_classifier_config()).state_dict(), path)
    with pytest.raises(InputError, match=r"plain\.pth holds only the student's weights, without"):
        load_distiller(fresh(), path)


def test_a_file_of_another_network_is_refused(tmp_path):
    path = write(tmp_path / 'a.pth', small_distiller('ce_kd', num_classes=4))
    with pytest.raises(InputError, match=r'head\.fc\.bias'):
        load_distiller(fresh(), path)


def test_metrics_of_untrained_exits_are_refused():
    for metric in (
        dict(type='mmmuse.ExitAccuracy'),
        dict(type='mmmuse.ExitMetric', metric=dict(type='Accuracy')),
    ):
        evaluator = Evaluator(METRICS.build(metric))
        with pytest.raises(InputError) as error:
            evaluator.process(predict(fresh()))
        line = str(error.value)
        assert line.startswith(f'{metric["type"].removeprefix("mmmuse.")}: adapters, muse.exits')
        assert 'to evaluate only the student' in line


def test_metrics_of_the_student_are_those_of_the_plain_model():
    evaluator = Evaluator(METRICS.build(dict(type='Accuracy')))
    evaluator.process(predict(fresh()))
    assert evaluator.evaluate(2)['accuracy/top1'] in (0.0, 50.0, 100.0)


KD = dict(type='mmmuse.KDLoss')


def test_peers_that_were_never_trained_are_left_out():
    distiller = online_pair(KD).eval()
    images, samples = batch()
    for sample in distiller(images, samples, mode='predict'):
        assert 'peers' not in sample
        assert sample.untrained.startswith('peers.b of the OnlineDistiller were never trained')
    with pytest.raises(InputError, match=r'PeerMetric: peers\.b of the OnlineDistiller'):
        Evaluator(
            METRICS.build(dict(type='mmmuse.PeerMetric', metric=dict(type='Accuracy')))
        ).process(distiller(images, samples, mode='predict'))
    distiller.load_state_dict(distiller.state_dict())
    assert all('peers' in sample for sample in distiller(images, samples, mode='predict'))


def test_peers_that_came_with_their_weights_predict():
    peers = dict(
        a=dict(model=network(), taps=PEER_TAPS),
        b=dict(model=MODELS.build(network()), taps=PEER_TAPS),
    )
    distiller = MODELS.build(dict(type='mmmuse.OnlineDistiller', peers=peers, losses=[KD]))
    distiller.init_weights()
    images, samples = batch()
    assert 'peers' in distiller.eval()(images, samples, mode='predict')[0]
