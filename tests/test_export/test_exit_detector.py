"""An exit of a detector as a plain network: its boxes, its losses, and no later module."""

from copy import deepcopy

import pytest
import torch
from mmdet.models.detectors import RetinaNet, SingleStageDetector
from mmengine.config import ConfigDict
from mmengine.model import BaseModel
from mmengine.registry import DefaultScope

from mmmuse.detection import DetectionSelfDistiller
from mmmuse.errors import InputError
from mmmuse.export.exit_network import exit_network, exit_network_config

from ..test_detection.test_detection_exit import EXITS, config_of, exit_of, with_exits
from ..test_detection.test_detectors import (
    assert_same_boxes,
    losses_of,
    predictions_of,
    without_gradient,
)

# Modules of the truncated backbone, by exit.
LEFT = {
    ('yolov5_s', 1): {'stem', 'stage1', 'stage2', 'stage3'},
    ('retinanet_r50', 1): {'conv1', 'bn1', 'relu', 'maxpool', 'layer1', 'layer2'},
    ('retinanet_r50', 2): {'conv1', 'bn1', 'relu', 'maxpool', 'layer1', 'layer2', 'layer3'},
}
LAST = {'yolov5_s': 2, 'retinanet_r50': 3}


@pytest.fixture(autouse=True)
def _scope():
    with DefaultScope.overwrite_default_scope('mmdet'):
        yield


def settled(name: str, **changes) -> DetectionSelfDistiller:
    """A small detector with exits, whose norms have seen a batch."""
    distiller = with_exits(name, **changes)
    losses_of(distiller)
    return distiller.eval()


def parameters_of(*modules: BaseModel) -> int:
    return sum(parameter.numel() for module in modules for parameter in module.parameters())


@pytest.mark.parametrize(('name', 'number'), EXITS)
def test_an_exit_alone_finds_the_boxes_of_the_exit(name, number):
    distiller = settled(name)
    network = exit_network(config_of(name), distiller, number)
    assert not network.training
    found, wanted = predictions_of(network), predictions_of(distiller)
    for sample, expected in zip(found, wanted, strict=True):
        assert_same_boxes(sample.pred_instances, expected.get(f'exit{number}_instances'))
        assert not torch.equal(sample.pred_instances.bboxes, expected.pred_instances.bboxes)


@pytest.mark.parametrize(('name', 'number'), EXITS)
def test_an_exit_alone_has_its_own_parameters_and_the_backbones_before_it(name, number):
    distiller = with_exits(name)
    network = exit_network(config_of(name), distiller, number)
    assert {child for child, _ in network.backbone.body.named_children()} == LEFT[name, number]
    trunk = distiller.student.backbone
    before = [getattr(trunk, child) for child in LEFT[name, number]]
    assert parameters_of(network) == parameters_of(*before, exit_of(distiller, number))
    assert parameters_of(network.backbone) < parameters_of(trunk)


@pytest.mark.parametrize(('name', 'number'), EXITS)
def test_an_exit_alone_learns_with_the_losses_of_the_exit(name, number):
    distiller = with_exits(name)
    network = exit_network(config_of(name), distiller, number)
    assert network.training
    _, of_distiller = losses_of(distiller)
    prefix = f'exit{number}.'
    expected = {k.removeprefix(prefix): v for k, v in of_distiller.items() if k.startswith(prefix)}
    total, losses = losses_of(network)
    assert {key for key in losses if key != 'loss'} == set(expected)
    for key, loss in expected.items():
        torch.testing.assert_close(losses[key], loss)
    total.backward()
    assert without_gradient(network) == set()


def test_an_exit_alone_shares_no_weight_with_the_distiller():
    distiller = with_exits('yolov5_s')
    network = exit_network(config_of('yolov5_s'), distiller, 1)
    before = deepcopy(distiller.state_dict())
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.zero_()
    assert all(torch.equal(distiller.state_dict()[name], before[name]) for name in before)


@pytest.mark.parametrize(
    ('name', 'kind'), [('yolov5_s', SingleStageDetector), ('retinanet_r50', RetinaNet)]
)
def test_the_number_behind_the_last_module_is_the_whole_detector(name, kind):
    distiller = settled(name)
    network = exit_network(config_of(name), distiller, LAST[name])
    assert type(network) is kind
    assert network.state_dict().keys() == distiller.student.state_dict().keys()
    for sample, expected in zip(predictions_of(network), predictions_of(distiller), strict=True):
        assert_same_boxes(sample.pred_instances, expected.pred_instances)


def test_a_head_of_the_exits_own_goes_with_it():
    own = ConfigDict(bbox_head=config_of('yolov5_s')['student']['bbox_head'])
    own.bbox_head.test_cfg = dict(score_thr=0.0, nms=dict(iou_threshold=0.5), max_per_img=3)
    distiller = settled('yolov5_s', exit=own)
    model = {**config_of('yolov5_s'), 'exit': own}
    config = exit_network_config(model, distiller, 1)
    assert config['test_cfg']['max_per_img'] == 3
    assert not {'train_cfg', 'test_cfg'} & set(config['bbox_head'])
    found = predictions_of(exit_network(model, distiller, 1))[0]
    expected = predictions_of(distiller)[0]
    assert len(found.pred_instances) == 3
    assert_same_boxes(found.pred_instances, expected.exit1_instances)
    assert len(expected.pred_instances) == 20


def test_the_distillers_preprocessor_and_input_shape_go_with_an_exit():
    model = config_of('retinanet_r50')
    distiller = with_exits()
    model['data_preprocessor'] = dict(type='DetDataPreprocessor', mean=[1, 2, 3], std=[4, 5, 6])
    model['input_shape'] = (3, 96, 96)
    of_student = deepcopy(model['student'].pop('data_preprocessor'))
    for number in (1, LAST['retinanet_r50']):
        config = exit_network_config(model, distiller, number)
        assert config['data_preprocessor'] == model['data_preprocessor']
    assert exit_network_config(model, distiller, 1)['backbone']['input_shape'] == (3, 96, 96)
    model['student']['data_preprocessor'] = of_student
    assert exit_network_config(model, distiller, 1)['data_preprocessor'] == of_student


def test_a_config_is_not_changed_by_reading_it():
    model = config_of('yolov5_s')
    before = deepcopy(model)
    distiller = with_exits('yolov5_s')
    exit_network_config(model, distiller, 1)['neck']['neck']['in_channels'].clear()
    exit_network_config(model, distiller, 2)['neck']['in_channels'].clear()
    assert model == before
    assert exit_network_config(model, distiller, 1)['neck']['neck']['in_channels'] == [32, 64, 128]


@pytest.mark.parametrize('number', [0, 4, -1])
def test_an_exit_that_is_not_there_is_refused_with_those_that_are(number):
    message = f'unknown exit {number}; available: 1, 2, and 3, the full network'
    with pytest.raises(InputError, match=message):
        exit_network_config(config_of('retinanet_r50'), with_exits(), number)


def test_a_module_that_was_given_no_exit_has_none():
    distiller = with_exits(exit_modules=[2])
    with pytest.raises(InputError, match='unknown exit 1; available: 2, and 3, the full network'):
        exit_network(config_of('retinanet_r50'), distiller, 1)
    config = exit_network_config(config_of('retinanet_r50'), distiller, 2)
    assert config['backbone']['end'] == 'layer3'


def test_an_exit_in_the_neck_cannot_stand_alone():
    taps = dict(modules=['backbone.layer3', 'neck.fpn_convs.0.conv'], last='neck.fpn_convs.2.conv')
    distiller = with_exits(taps=taps, head=None)
    model = {**config_of('retinanet_r50'), 'taps': taps}
    message = (
        "exit 2 cannot be exported: it is at 'neck.fpn_convs.0.conv' of a RetinaNet, not below"
    )
    with pytest.raises(InputError, match=message):
        exit_network_config(model, distiller, 2)
    assert exit_network_config(model, distiller, 1)['backbone']['end'] == 'layer3'
