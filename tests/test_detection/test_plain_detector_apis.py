"""mmdet's own APIs on the student.py of a distilled detector, and on the distilled config."""

from copy import deepcopy
from pathlib import Path

import numpy as np
import pytest
import torch
from mmdet.apis import DetInferencer, inference_detector, init_detector
from mmengine.config import Config
from mmengine.registry import DefaultScope
from mmengine.runner import save_checkpoint

from mmmuse.checkpoints.state_dicts import DISTILLER_KEY, split_state_dict, with_plain_names
from mmmuse.checkpoints.student_config import student_configs
from mmmuse.registry import MODELS

from ..conftest import as_trained
from .test_detection_exit import with_exits
from .test_detectors import assert_same_boxes, batch, example

IMAGE = np.random.default_rng(0).integers(0, 255, (64, 64, 3), np.uint8)
NAME = 'retinanet_r50'
CLASSES = ('a', 'b', 'c')


@pytest.fixture(autouse=True)
def _scope():
    with DefaultScope.overwrite_default_scope('mmdet'):
        yield


@pytest.fixture(scope='module')
def run(tmp_path_factory) -> Path:
    """A work dir with the config of a distilled detector, student.py and a checkpoint."""
    folder = tmp_path_factory.mktemp('run')
    config = example(NAME)
    config.test_dataloader.dataset.metainfo = dict(classes=CLASSES, palette=[(0, 0, 0)] * 3)
    config.dump(folder / 'distilled.py')
    (folder / 'student.py').write_text(student_configs(config)['student.py'])
    torch.manual_seed(0)
    with DefaultScope.overwrite_default_scope('mmdet'):
        weights = MODELS.build(deepcopy(config.model)).state_dict()
    content = dict(
        meta=dict(dataset_meta=dict(classes=CLASSES)), state_dict=with_plain_names(weights)
    )
    content[DISTILLER_KEY] = split_state_dict(weights)[1]
    save_checkpoint(content, str(folder / 'epoch_1.pth'))
    return folder


def detect(run: Path, name: str, **options):
    model = init_detector(str(run / name), str(run / 'epoch_1.pth'), device='cpu', **options)
    return model, inference_detector(model, IMAGE).pred_instances


def test_init_detector_takes_student_py(run):
    model, found = detect(run, 'student.py')
    assert type(model).__name__ == 'RetinaNet'
    assert model.dataset_meta['classes'] == CLASSES
    assert len(found) > 0


def test_the_inferencer_takes_both(run):
    _, expected = detect(run, 'student.py')
    for name in ('student.py', 'distilled.py'):
        inferencer = DetInferencer(
            str(run / name), str(run / 'epoch_1.pth'), device='cpu', show_progress=False
        )
        (found,) = inferencer(IMAGE, no_save_vis=True)['predictions']
        np.testing.assert_allclose(found['bboxes'], expected.bboxes.tolist(), rtol=1e-5)


def test_init_detector_takes_the_distilled_config_with_options_only(run):
    with pytest.raises(AttributeError, match='backbone'):
        detect(run, 'distilled.py')
    _, expected = detect(run, 'student.py')
    model, found = detect(run, 'distilled.py', cfg_options={})
    assert type(model).__name__ == 'DetectionSelfDistiller'
    assert_same_boxes(found, expected)


def test_no_part_of_mmmuse_is_left_in_the_students_config(run):
    text = (run / 'student.py').read_text()
    assert 'mmmuse.' not in text.partition('"""')[0].split('\n', 2)[2]
    assert Config.fromfile(run / 'student.py').model.type == 'RetinaNet'


def test_boxes_of_exits_are_merged_as_those_of_the_detector():
    model = as_trained(with_exits(NAME)).eval()
    merge = dict(
        type='DetTTAModel', tta_cfg=dict(nms=dict(type='nms', iou_threshold=0.99), max_per_img=50)
    )
    tta = MODELS.build(dict(type='mmmuse.MergedExits', module=model, tta_model=merge))
    data = batch(model, False)
    for sample in data['data_samples']:
        sample.set_metainfo(dict(flip=False, flip_direction=None))
    with torch.no_grad():
        views = [
            model(data['inputs'], [s.clone() for s in data['data_samples']], mode='predict')
            for _ in range(2)
        ]
    kept = [(v.pred_instances.clone(), v.exit1_instances.clone()) for v in views[0]]
    for sample, (whole, of_exit) in zip(tta.merge_preds(list(zip(*views))), kept):
        # The second view has the same boxes, and suppression leaves one of each.
        assert_same_values(sample.pred_instances, whole)
        assert_same_values(sample.exit1_instances, of_exit)
        assert not torch.equal(sample.exit1_instances.bboxes, sample.pred_instances.bboxes)


def assert_same_values(found, expected) -> None:
    assert len(found) > 0
    for scores in (found.scores, expected.scores):
        assert scores.tolist() == sorted(scores.tolist(), reverse=True)
    n = min(len(found), len(expected))
    torch.testing.assert_close(found.scores[:n], expected.scores[:n])
    assert set(found.scores.tolist()) <= set(expected.scores.tolist())
