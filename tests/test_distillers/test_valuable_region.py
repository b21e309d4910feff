"""Localisation distillation in the valuable region, on mmdet's own anchors and assignment."""

import pytest
import torch
from mmengine.structures import InstanceData

from mmmuse.errors import InputError
from mmmuse.functional import adaptive_thresholds, localisation_distillation_loss

from ..test_functional.test_valuable_region import diou, overlap
from .detectors import batch, detector, taught

pytestmark = pytest.mark.slow

LD = dict(type='mmmuse.LDLoss', valuable_weight=0.5, loss_weight=0.25)


def assigned_by(**assigner) -> dict:
    """A student whose objects are assigned by another assigner."""
    student = detector()
    return dict(student, train_cfg=dict(student['train_cfg'], assigner=assigner))


def anchors_of(distiller, data: dict) -> tuple[list, list[torch.Tensor]]:
    """The anchors of each image and level, and the index of the object of each positive anchor, or -1."""
    head = distiller.student.bbox_head
    sizes = [(64 // s, 64 // s) if s <= 64 else (1, 1) for s in (8, 16, 32, 64, 128)]
    metas = [sample.metainfo for sample in data['data_samples']]
    anchors, _ = head.get_anchors(sizes, metas, device='cpu')
    assigned = []
    for levels, sample in zip(anchors, data['data_samples']):
        found = head.assigner.assign(
            pred_instances=InstanceData(priors=torch.cat(levels)),
            num_level_priors=[len(level) for level in levels],
            gt_instances=sample.gt_instances,
        )
        assigned.append(found.gt_inds - 1)
    return anchors, assigned


def test_positive_boxes_are_above_the_threshold_of_their_object():
    distiller = taught(LD)
    data = batch(distiller)
    count = 0
    for sample, levels, objects in zip(data['data_samples'], *anchors_of(distiller, data)):
        boxes = sample.gt_instances.bboxes
        thresholds = adaptive_thresholds(levels, boxes, 9)
        for anchor, at in zip(torch.cat(levels).tolist(), objects.tolist()):
            if at >= 0:
                count += 1
                assert overlap(anchor, boxes[at].tolist()) >= thresholds[at] - 1e-5
    assert count


@pytest.mark.parametrize('kind', ['ATSSAssigner', 'MaxIoUAssigner'])
def test_the_second_term_is_that_of_boxes_near_an_object(kind):
    by_overlap = dict(type='MaxIoUAssigner', pos_iou_thr=0.3, neg_iou_thr=0.3, min_pos_iou=0)
    student = assigned_by(**by_overlap) if kind == 'MaxIoUAssigner' else None
    distiller = taught(LD, student=student)
    head = distiller.student.bbox_head
    data = batch(distiller)
    kept = {}
    head.register_forward_hook(lambda _, args, output: kept.update(own=output))
    losses = distiller(**data, mode='loss')
    with torch.no_grad():
        model = distiller.teacher.model
        other = model.bbox_head(model.extract_feat(data['inputs']))
    scores, sides = (
        torch.cat([level.permute(0, 2, 3, 1).flatten(1, 2) for level in levels], 1)
        for levels in kept['own'][:2]
    )
    targets = torch.cat([level.permute(0, 2, 3, 1).flatten(1, 2) for level in other[1]], 1)
    student, teacher, weights = [], [], []
    for i, (sample, levels, objects) in enumerate(
        zip(data['data_samples'], *anchors_of(distiller, data))
    ):
        boxes = sample.gt_instances.bboxes
        thresholds = [0.3] * len(boxes)
        if kind == 'ATSSAssigner':
            thresholds = adaptive_thresholds(levels, boxes, 9).tolist()
        for place, anchor in enumerate(torch.cat(levels).tolist()):
            found = [diou(anchor, box) for box in boxes.tolist()]
            near = any(0.25 * a <= x <= a for x, a in zip(found, thresholds))
            if near and objects[place] < 0:
                student.append(sides[i, place])
                teacher.append(targets[i, place])
                weights.append(scores[i, place].sigmoid().amax())
    pair = (torch.stack(each).unflatten(1, (4, 8)) for each in (student, teacher))
    expected = localisation_distillation_loss(*pair, torch.stack(weights), 10.0)
    assert expected > 0
    torch.testing.assert_close(losses['loss_ld_valuable'], 0.5 * 0.25 * expected)


def test_the_main_region_is_the_same_with_a_second_one_and_images_may_have_no_object():
    distiller = taught(LD)
    plain = taught(dict(type='mmmuse.LDLoss', loss_weight=0.25))
    plain.load_state_dict(distiller.state_dict())
    plain.teacher.model.load_state_dict(distiller.teacher.model.state_dict())
    data = batch(distiller)
    found, expected = (each(**data, mode='loss') for each in (distiller, plain))
    torch.testing.assert_close(found['loss_ld'], expected['loss_ld'])
    assert 'loss_ld_valuable' not in expected
    for sample in data['data_samples']:
        sample.gt_instances = sample.gt_instances[:0]
    losses = distiller(**data, mode='loss')
    assert losses['loss_ld_valuable'] == 0
    distiller.parse_losses(losses)[0].backward()


def test_a_region_without_labels_or_a_threshold_is_refused():
    with pytest.raises(InputError, match="region='confident' is without labels"):
        taught(dict(LD, region='confident'))
    with pytest.raises(InputError, match='and the TaskAlignedAssigner of the student has none'):
        taught(LD, student=assigned_by(type='TaskAlignedAssigner', topk=9))
    with pytest.raises(
        InputError, match=r'and the ATSSAssigner\(alpha=\.\.\.\) of the student has none'
    ):
        taught(LD, student=assigned_by(type='ATSSAssigner', topk=9, alpha=0.8))
