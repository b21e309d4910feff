"""Checkpoints of plain and distilled detectors come back, and no others do."""

from copy import deepcopy
from pathlib import Path

import pytest
import torch
from mmdet.models.detectors import SingleStageDetector
from mmengine.config import Config
from mmengine.model import BaseModel
from mmengine.registry import DefaultScope

from mmmuse.checkpoints.state_dicts import DISTILLER_KEY, split_state_dict, with_plain_names
from mmmuse.detection import DetectionSelfDistiller
from mmmuse.errors import InputError
from mmmuse.export.trained import detector_config, load_trained_detector
from mmmuse.registry import MODELS

from ..conftest import small_classifier_config
from ..test_detection.test_detection_exit import yolov5
from ..test_detection.test_detectors import assert_same_boxes, losses_of, predictions_of

META = dict(dataset_meta=dict(classes=('cat', 'dog', 'cow')))


@pytest.fixture(autouse=True)
def _scope():
    with DefaultScope.overwrite_default_scope('mmdet'):
        yield


def distilled() -> Config:
    return deepcopy(yolov5())


def plain() -> Config:
    return Config(dict(default_scope='mmdet', model=distilled().model.student))


def without_exits() -> Config:
    model = {key: distilled().model[key] for key in ('student', 'taps', 'head')}
    return Config(dict(default_scope='mmdet', model=dict(type='mmmuse.SelfDistiller', **model)))


def trained(config: Config) -> BaseModel:
    """A network of a config whose norms have seen a batch."""
    model = MODELS.build(deepcopy(config.model)).train()
    losses_of(model)
    return model.eval()


def save(model: BaseModel, path: Path) -> str:
    """Save what training saves: the student under its own names, the rest beside."""
    weights = model.state_dict()
    student, rest = split_state_dict(weights)
    content = dict(state_dict=with_plain_names(weights)) if student else dict(state_dict=weights)
    if rest and student:
        content[DISTILLER_KEY] = rest
    torch.save(dict(meta=META, **content), path)
    return str(path)


def test_a_plain_detector_comes_back(tmp_path):
    model = trained(plain())
    loaded = load_trained_detector(plain(), save(model, tmp_path / 'a.pth'))
    assert type(loaded) is SingleStageDetector
    assert not loaded.training
    assert loaded.dataset_meta == META['dataset_meta']
    for sample, expected in zip(predictions_of(loaded), predictions_of(model), strict=True):
        assert_same_boxes(sample.pred_instances, expected.pred_instances)


def test_a_distilled_detector_comes_back_with_its_exits_and_without_critics(tmp_path):
    model = trained(distilled())
    loaded = load_trained_detector(distilled(), save(model, tmp_path / 'a.pth'))
    assert type(loaded) is DetectionSelfDistiller
    assert not loaded.training
    assert loaded.dataset_meta == META['dataset_meta']
    assert any(name.startswith('muse.') for name in model.state_dict())
    assert {name.split('.')[0] for name in loaded.state_dict()} == {'student', 'exits'}
    for sample, expected in zip(predictions_of(loaded), predictions_of(model), strict=True):
        assert_same_boxes(sample.pred_instances, expected.pred_instances)
        assert_same_boxes(sample.exit1_instances, expected.exit1_instances)


def test_weights_under_the_distillers_names_come_back(tmp_path):
    model = trained(distilled())
    torch.save(model.state_dict(), tmp_path / 'a.pth')
    loaded = load_trained_detector(distilled(), str(tmp_path / 'a.pth'))
    assert loaded.dataset_meta is None
    found, expected = predictions_of(loaded)[0], predictions_of(model)[0]
    assert_same_boxes(found.exit1_instances, expected.exit1_instances)


def test_a_detector_that_was_distilled_without_exits_is_a_plain_one(tmp_path):
    model = trained(without_exits())
    loaded = load_trained_detector(without_exits(), save(model, tmp_path / 'a.pth'))
    assert type(loaded) is SingleStageDetector
    found, expected = predictions_of(loaded)[0], predictions_of(model)[0]
    assert_same_boxes(found.pred_instances, expected.pred_instances)


def test_critics_of_another_width_do_not_matter(tmp_path):
    narrow = distilled()
    narrow.model.head.discrepancy.critic.update(hidden_channels=8)
    load_trained_detector(narrow, save(MODELS.build(distilled().model), tmp_path / 'a.pth'))


def test_a_config_is_not_changed_by_reading_it(tmp_path):
    config = distilled()
    config.data_preprocessor = dict(type='DetDataPreprocessor', mean=[1, 2, 3], std=[4, 5, 6])
    before = config.pretty_text
    assert detector_config(config)['data_preprocessor'] == config.data_preprocessor
    load_trained_detector(config, save(MODELS.build(distilled().model), tmp_path / 'a.pth'))
    assert config.pretty_text == before


@pytest.mark.parametrize('config', [plain, distilled])
def test_a_checkpoint_of_another_network_says_which_tensors_differ(config, tmp_path):
    path = save(MODELS.build(config().model), tmp_path / 'a.pth')
    other = config()
    model = other.model.get('student', other.model)
    model.bbox_head.num_classes = 2  # 3 anchors of 5 + C logits.
    with pytest.raises(
        InputError,
        match=r'of another network; .*bbox_head.convs.0.bias \(\(21,\) in the model, \(24,\) in ',
    ):
        load_trained_detector(other, path)


def test_a_checkpoint_of_another_exit_says_which_tensors_differ(tmp_path):
    path = save(MODELS.build(distilled().model), tmp_path / 'a.pth')
    other = distilled()
    other.model.exit.bottleneck.reduction = 2
    with pytest.raises(InputError, match=r'of another exit; .*: exits.0.adapter.branches.0'):
        load_trained_detector(other, path)


def test_a_student_alone_has_no_trained_exits(tmp_path):
    path = save(MODELS.build(plain().model), tmp_path / 'a.pth')
    with pytest.raises(
        InputError, match=f"{path} holds only the student's weights: its exits have not been"
    ):
        load_trained_detector(distilled(), path)


def test_a_classifier_is_no_detector(tmp_path):
    config = Config(dict(model=small_classifier_config()))
    with pytest.raises(
        InputError, match=r'no detector of mmdet: its model is mmpretrain\.ImageClassifier'
    ):
        load_trained_detector(config, str(tmp_path / 'a.pth'))


@pytest.mark.parametrize(
    'config',
    [dict(), dict(model=None), dict(model=dict(type='mmmuse.SelfDistiller', taps='resnet'))],
    ids=['no model', 'none', 'no student'],
)
def test_a_config_without_a_network_is_refused(config, tmp_path):
    with pytest.raises(InputError, match='the config has no model'):
        load_trained_detector(Config(config), str(tmp_path / 'a.pth'))
