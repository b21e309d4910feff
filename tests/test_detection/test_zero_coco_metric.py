import json
import sys

import pytest
import torch
from mmdet.evaluation import CocoMetric

from mmmuse.detection import ZeroCocoMetric
from mmmuse.errors import InputError

SOMETHING = dict(bboxes=torch.tensor([[10.0, 10, 30, 30]]), scores=torch.ones(1))


BOX = dict(image_id=1, category_id=1, bbox=[10, 10, 20, 20], area=400, iscrowd=0)


def write_boxes(tmp_path, *boxes):
    file = tmp_path / 'instances.json'
    file.write_text(
        json.dumps(
            dict(
                images=[dict(id=1, file_name='1.jpg', width=64, height=64)],
                categories=[dict(id=1, name='cat')],
                annotations=[dict(BOX, id=i + 1, **box) for i, box in enumerate(boxes)],
            )
        )
    )
    return str(file)


def evaluated(tmp_path, instances, *more, kind=ZeroCocoMetric, **options):
    metric = kind(ann_file=write_boxes(tmp_path, {}, *more), **options)
    metric.dataset_meta = dict(classes=('cat',))
    labels = torch.zeros(len(instances['scores']), dtype=torch.long)
    sample = dict(img_id=1, ori_shape=(64, 64), pred_instances=dict(**instances, labels=labels))
    metric.process({}, [sample])
    return metric.evaluate(1)


def test_a_detector_that_finds_nothing_has_a_figure(tmp_path):
    metrics = evaluated(tmp_path, dict(bboxes=torch.zeros(0, 4), scores=torch.zeros(0)))
    assert metrics['coco/bbox_mAP'] == 0
    assert metrics['coco/bbox_mAP_50'] == 0


def test_the_figures_of_others_are_mmdets(tmp_path):
    metrics = evaluated(tmp_path, SOMETHING)
    nothing = evaluated(tmp_path, dict(bboxes=torch.zeros(0, 4), scores=torch.zeros(0)))
    assert metrics['coco/bbox_mAP'] == 1
    assert metrics.keys() - {'coco/bbox_mAP_copypaste'} == nothing.keys()


UNUSABLE = {
    'NaN': dict(bbox=[10, 10, float('nan'), 20]),
    'infinite': dict(bbox=[10, 10, float('inf'), 20]),
    'unknown category': dict(category_id=7),
    'unknown image': dict(image_id=7),
}


@pytest.mark.parametrize('name', UNUSABLE)
def test_a_box_that_training_leaves_out_is_no_ground_truth(tmp_path, name, monkeypatch):
    said = []
    monkeypatch.setattr(
        sys.modules[ZeroCocoMetric.__module__], 'print_log', lambda text, **_: said.append(text)
    )
    more = (UNUSABLE[name], UNUSABLE[name])
    metrics = evaluated(tmp_path, SOMETHING, *more, metric=['bbox', 'proposal'])
    assert metrics['coco/bbox_mAP'] == 1
    assert metrics['coco/AR@100'] == 1
    (line,) = said
    assert f'{tmp_path}/instances.json: 2 boxes' in line
    assert line.endswith('left out of the ground truth')


def test_mmdets_metric_counts_a_box_of_nan(tmp_path):
    """So that the test above can fail."""
    metrics = evaluated(tmp_path, SOMETHING, UNUSABLE['NaN'], kind=CocoMetric)
    assert 0 < metrics['coco/bbox_mAP'] < 1


def test_usable_boxes_are_counted_and_nothing_is_said(tmp_path, monkeypatch):
    said = []
    monkeypatch.setattr(
        sys.modules[ZeroCocoMetric.__module__], 'print_log', lambda text, **_: said.append(text)
    )
    metrics = evaluated(tmp_path, SOMETHING, dict(bbox=[40, 40, 10, 10], area=100))
    assert 0 < metrics['coco/bbox_mAP'] < 1  # The second box is not found.
    assert not said


def test_a_box_that_is_not_four_numbers_is_named(tmp_path):
    file = write_boxes(tmp_path, {}, dict(bbox=[1, 2, 3]))
    with pytest.raises(InputError, match=r'annotation 2 has the bbox \[1, 2, 3\]'):
        ZeroCocoMetric(ann_file=file)
