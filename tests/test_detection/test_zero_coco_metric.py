import json

import torch

from mmmuse.detection import ZeroCocoMetric

SOMETHING = dict(bboxes=torch.tensor([[10.0, 10, 30, 30]]), scores=torch.ones(1))


def evaluated(tmp_path, instances):
    file = tmp_path / 'instances.json'
    box = dict(id=1, image_id=1, category_id=1, bbox=[10, 10, 20, 20], area=400, iscrowd=0)
    file.write_text(
        json.dumps(
            dict(
                images=[dict(id=1, file_name='1.jpg', width=64, height=64)],
                categories=[dict(id=1, name='cat')],
                annotations=[box],
            )
        )
    )
    metric = ZeroCocoMetric(ann_file=str(file))
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
