"""Verify and benchmark an exported detector: boxes compared, images padded, mAP."""

from copy import deepcopy

import pytest
import torch
from mmdet.evaluation import CocoMetric
from mmdet.structures import DetDataSample
from mmengine.config import Config
from mmengine.model import BaseModel
from mmengine.registry import DefaultScope
from mmengine.structures import InstanceData
from torch import nn

from mmmuse.command_line.config import load_config
from mmmuse.errors import InputError
from mmmuse.export.data import NormalizedTestSet, common_shape, padded
from mmmuse.export.detector_target import (
    check_boxes_match,
    count_other_boxes,
    network_predictions,
)
from mmmuse.export.target import evaluate
from mmmuse.registry import MODELS

from ..test_tools.test_show_detections import CLASSES, SMALL, SQUARES, write_config, write_squares


@pytest.fixture(autouse=True, scope='module')
def _scope():
    with DefaultScope.overwrite_default_scope('mmdet'):
        yield


BOXES = [[0, 0, 10, 10], [20, 20, 40, 40], [0, 0, 10, 10], [50, 0, 60, 20]]
SCORES = [0.9, 0.8, 0.6, 0.2]
LABELS = [0, 1, 1, 0]


def instances(kept: list[int] | None = None, **changes) -> InstanceData:
    """Four boxes, or some of them, after single numbers of theirs were changed by ``name=(i, by)``."""
    parts = dict(
        bboxes=torch.tensor(BOXES).float(),
        scores=torch.tensor(SCORES),
        labels=torch.tensor(LABELS),
    )
    for name, (i, by) in changes.items():
        parts[name][i] += by
    kept = [0, 1, 2, 3] if kept is None else kept
    return InstanceData(**{name: part[kept] for name, part in parts.items()})


def moved(i: int, by: float) -> tuple[int, torch.Tensor]:
    return i, torch.tensor([0, 0, by, 0])


@pytest.mark.parametrize(
    ('found', 'others'),
    [
        (instances(), 0),
        (instances([3, 1, 0, 2]), 0),
        (instances(bboxes=moved(1, 0.04)), 0),
        (instances(bboxes=moved(1, 0.06)), 1),
        (instances(bboxes=moved(1, -0.06)), 1),
        (instances(scores=(1, 0.0008)), 0),
        (instances(scores=(1, 0.0012)), 1),
        (instances(scores=(1, -0.0012)), 1),
        (instances(labels=(1, -1)), 1),
        (instances(labels=(1, 1), scores=(0, -0.1)), 2),
    ],
)
def test_a_counterpart_is_of_the_same_place_class_and_score(found, others):
    assert count_other_boxes(found, instances()) == others
    assert count_other_boxes(instances(), found) == others


def test_boxes_that_are_missing_count_one_way_and_those_too_many_the_other():
    assert count_other_boxes(instances([0, 3]), instances()) == 2
    assert count_other_boxes(instances(), instances([0, 3])) == 0
    # The box of class 0 is not a counterpart of the box of class 1 in the same place.
    assert count_other_boxes(instances([0, 1, 3]), instances()) == 1


@pytest.mark.parametrize(('above', 'others'), [(0.0008, 0), (0.0012, 1)])
def test_boxes_within_a_thousandth_of_the_cut_off_are_left_out(above, others):
    expected = instances(scores=(2, -0.4 + above))
    assert count_other_boxes(instances([0, 1]), expected, cut_off=0.2) == others
    assert count_other_boxes(expected, instances([0, 1, 3]), cut_off=0.2) == 0


def test_without_a_cut_off_the_lowest_box_counts_too():
    assert count_other_boxes(instances([0, 1, 2]), instances()) == 1
    assert count_other_boxes(instances([0]), instances([3])) == 1


def test_no_boxes_have_no_others():
    none = instances([])
    assert count_other_boxes(none, none) == 0
    assert count_other_boxes(instances(), none) == 0
    assert count_other_boxes(none, instances()) == 4


def test_boxes_of_all_images_are_compared():
    batches = [dict(number=0), dict(number=1)]

    def all_of_them(batch):
        return [instances(), instances([0, 1])]

    def another_in_the_second_batch(batch):
        return [instances(labels=(0, batch['number'])), instances([0, 1])]

    def two_too_many(batch):
        return [instances(), instances()]

    def lowest_missing(batch):
        return [instances([0, 1, 2]), instances([0])]

    assert check_boxes_match('ONNX', all_of_them, all_of_them, batches) == 12
    message = 'discarded: 2 boxes differ between ONNX and the detector, which finds 4 in this image'
    with pytest.raises(InputError, match=message):
        check_boxes_match('ONNX', another_in_the_second_batch, all_of_them, batches)
    with pytest.raises(
        InputError, match='2 boxes differ between mmdet and the detector, which finds 2'
    ):
        check_boxes_match('mmdet', two_too_many, all_of_them, batches)
    # The lowest of as many as are kept at most is there by chance.
    assert check_boxes_match('ONNX', lowest_missing, all_of_them, batches, dict(max_per_img=2))
    with pytest.raises(InputError, match='1 boxes differ between ONNX'):
        check_boxes_match('ONNX', lowest_missing, all_of_them, batches, dict(max_per_img=9))


def test_images_are_padded_below_and_on_the_right():
    inputs = torch.arange(12.0).reshape(1, 2, 2, 3)
    batch = padded(dict(inputs=inputs, data_samples=['one']), (2, 3, 5), 0.5)
    assert batch['data_samples'] == ['one']
    assert batch['inputs'][0].tolist() == [
        [[0, 1, 2, 0.5, 0.5], [3, 4, 5, 0.5, 0.5], [0.5] * 5],
        [[6, 7, 8, 0.5, 0.5], [9, 10, 11, 0.5, 0.5], [0.5] * 5],
    ]
    assert torch.equal(padded(dict(inputs=inputs), (2, 2, 3), 0.5)['inputs'], inputs)


@pytest.mark.parametrize('shape', [(2, 1, 9), (2, 9, 2)])
def test_an_image_that_is_larger_is_not_cut(shape):
    with pytest.raises(InputError, match='images of 2x3 pixels do not fit into --input-shape'):
        padded(dict(inputs=torch.zeros(1, 2, 2, 3)), shape, 0.0)


def test_the_common_shape_has_the_greatest_height_and_the_greatest_width():
    shapes = [(1, 3, 64, 96), (2, 3, 128, 32)]
    assert common_shape(dict(inputs=torch.zeros(shape)) for shape in shapes) == (3, 128, 96)


@pytest.fixture(scope='module')
def config(tmp_path_factory) -> Config:
    """Of a detector and three images of 64 pixels, which are read at 128."""
    folder = tmp_path_factory.mktemp('squares')
    write_squares(folder)
    loaded = load_config(str(write_config(folder / 'plain.py', 'yolov5_s_coco.py', SMALL)), {})
    metric = dict(type='CocoMetric', ann_file=str(folder / 'squares.json'), metric='bbox')
    loaded.test_evaluator = [metric, dict(type='mmmuse.ExitDetectionMetric', metric=metric)]
    loaded.test_dataloader.batch_size = 2
    return loaded


@pytest.fixture(scope='module')
def detector(config) -> BaseModel:
    return MODELS.build(deepcopy(config.model))


def test_images_are_read_and_normalised_batch_by_batch(config, detector):
    images = NormalizedTestSet(config, detector)
    batches = list(images)
    assert [len(batch['data_samples']) for batch in batches] == [2, 1]
    assert list(images.metainfo['classes']) == CLASSES
    first = batches[0]['inputs'][0]
    assert first.shape == (3, 128, 128)
    # Grey beside the squares; in the middle of the first, red comes first.
    grey, red = first[:, 10, 110], first[:, 36, 36]
    torch.testing.assert_close(grey, torch.full((3,), 200 / 255), atol=0.02, rtol=0)
    torch.testing.assert_close(red, torch.tensor([1.0, 0.0, 0.0]), atol=0.05, rtol=0)


def test_a_few_images_come_one_by_one(config, detector):
    batches = list(NormalizedTestSet(config, detector, limit=2))
    assert [len(batch['data_samples']) for batch in batches] == [1, 1]
    assert config.test_dataloader.batch_size == 2


def test_images_are_padded_to_a_shape_with_the_preprocessors_value(config, detector):
    for own, batch in zip(
        NormalizedTestSet(config, detector),
        NormalizedTestSet(config, detector, shape=(3, 160, 192)),
        strict=True,
    ):
        assert batch['inputs'].shape[1:] == (3, 160, 192)
        assert torch.equal(batch['inputs'][:, :, :128, :128], own['inputs'])
        assert torch.all(batch['inputs'][:, :, 128:] == 114 / 255)
        assert torch.all(batch['inputs'][:, :, :, 128:] == 114 / 255)
    with pytest.raises(InputError, match='images of 128x128 pixels do not fit'):
        list(NormalizedTestSet(config, detector, shape=(3, 96, 192)))


def test_no_data_and_no_images_are_said_so(config, detector):
    without = deepcopy(config)
    without.test_dataloader.update(batch_size=4, drop_last=True)
    with pytest.raises(InputError, match='no test images'):
        NormalizedTestSet(without, detector)
    without.pop('test_dataloader')
    with pytest.raises(InputError, match='the config has no test_dataloader'):
        NormalizedTestSet(without, detector)


def squares_of(name: str, sample: DetDataSample) -> InstanceData:
    """The true squares of an image, only the red ones, or all of them slightly displaced."""
    squares = list(SQUARES.values())[sample.img_id]
    squares = [square for square in squares if name != 'red' or square[0] == 0]
    by = 3 if name == 'beside' else 0
    return InstanceData(
        bboxes=torch.tensor([[x + by, y, x + w, y + h] for _, (x, y, w, h) in squares]).view(-1, 4),
        scores=torch.tensor([0.9 - 0.1 * i for i in range(len(squares))]),
        labels=torch.tensor([label for label, _ in squares], dtype=torch.long),
    )


def test_figures_are_those_of_the_metric_by_hand(config, detector):
    forms = {
        name: lambda batch, name=name: [squares_of(name, s) for s in batch['data_samples']]
        for name in ('all', 'red', 'beside')
    }
    figures = evaluate(config.test_evaluator, forms, NormalizedTestSet(config, detector))
    assert figures['all']['coco/bbox_mAP'] == 1.0
    assert figures['red']['coco/bbox_mAP'] == 0.5
    assert figures['beside']['coco/bbox_mAP_50'] == 1.0
    assert 0.5 < figures['beside']['coco/bbox_mAP'] < 1.0
    for name in forms:
        metric = CocoMetric(ann_file=config.test_evaluator[0].ann_file, metric='bbox')
        metric.dataset_meta = dict(classes=CLASSES)
        for number in range(3):
            sample = DetDataSample(metainfo=dict(img_id=number, ori_shape=(64, 64)))
            sample.pred_instances = squares_of(name, sample)
            metric.process({}, [sample.to_dict()])
        assert figures[name] == pytest.approx(metric.evaluate(3), nan_ok=True)


class FewPredictions(nn.Module):
    """Predicts the proposals, or no boxes."""

    def predict(self, inputs, samples):
        for sample in samples:
            assert 'gt_instances' not in sample
            if 'proposals' in sample:
                sample.pred_instances = sample.proposals
        return samples


def test_a_detector_receives_the_proposals_of_an_image_and_not_its_objects():
    sample = DetDataSample(metainfo=dict(img_id=3), gt_instances=instances())
    batch = dict(inputs=torch.zeros(1, 3, 8, 8), data_samples=[sample])
    predict = network_predictions(FewPredictions())
    with pytest.raises(InputError, match='by the boxes of a detector, and FewPredictions predicts'):
        predict(batch)
    sample.proposals = instances([0, 2])
    assert [len(found) for found in predict(batch)] == [2]


def test_without_a_metric_there_is_nothing_to_evaluate(config, detector):
    with pytest.raises(InputError, match='the config has no test_evaluator'):
        evaluate(None, {}, NormalizedTestSet(config, detector))
