"""Detectors that learn from bigger ones: by maps, box distributions and through the teacher's head."""

import copy

import pytest
import torch
from torch import nn
from torchvision.ops import generalized_box_iou

from mmmuse.errors import InputError
from mmmuse.registry import MODELS
from mmmuse.tapping.dense_head import HeadSpec

from .detectors import LEVELS, batch, built, detector, detr, faster_rcnn, step, taught

pytestmark = pytest.mark.slow

LD = dict(type='mmmuse.LDLoss')
CROSSKD = dict(type='mmmuse.CrossKDLoss')
PKD = dict(type='mmmuse.PKDLoss')
LOSSES = [
    dict(type='mmmuse.CWDLoss', temperature=1.0, loss_weight=10.0),
    PKD,
    dict(type='mmmuse.MGDLoss'),
    LD,
    dict(LD, region='confident'),
    CROSSKD,
]


def predictions_of(distiller: nn.Module) -> list[torch.Tensor]:
    found = distiller.eval().student(**batch(distiller), mode='predict')
    return [sample.pred_instances.bboxes for sample in found]


@pytest.mark.parametrize('loss', LOSSES, ids=lambda loss: loss['type'])
def test_a_student_of_other_channels_takes_a_step_and_keeps_its_names(loss):
    distiller = taught(loss, teacher=detector(width=24))
    before = {name: value.clone() for name, value in distiller.teacher.model.state_dict().items()}
    losses = step(distiller)
    terms = {name: value for name, value in losses.items() if name.split('_')[1] in loss_name(loss)}
    assert terms
    assert all(term.isfinite() and term > 0 for term in terms.values())
    assert list(distiller.student.state_dict()) == list(built(detector()).state_dict())
    after = distiller.teacher.model.state_dict()
    assert all(torch.equal(value, after[name]) for name, value in before.items())
    assert all(parameter.grad is None for parameter in distiller.teacher.model.parameters())


def loss_name(loss: dict) -> str:
    return loss['type'].removeprefix('mmmuse.').removesuffix('Loss').lower()


@pytest.mark.parametrize('kind', ['RetinaNet', 'ATSS', 'FCOS'])
def test_crosskd_reads_the_towers_of_other_heads(kind):
    distiller = taught(CROSSKD, student=detector(kind), teacher=detector(kind, 24))
    losses = step(distiller)
    assert losses['loss_crosskd_cls'] > 0
    assert losses['loss_crosskd_box'] > 0


def test_a_student_that_is_its_teacher_has_no_loss_but_mgds():
    network = built(detector())
    losses = [loss for loss in LOSSES if loss['type'] != 'mmmuse.MGDLoss']
    distiller = taught(*losses, student=None, teacher=None)
    distiller.student.load_state_dict(network.state_dict())
    distiller.teacher.model.load_state_dict(network.state_dict())
    distiller.student.eval()  # The same batch statistics on both sides.
    found = distiller(**batch(distiller), mode='loss')
    for name in ('loss_cwd', 'loss_pkd', 'loss_ld', 'loss_ld_2', 'loss_crosskd_cls'):
        assert found[name].item() == pytest.approx(0, abs=1e-3), name
    assert found['loss_crosskd_box'].item() == pytest.approx(0, abs=1e-5)


def teacher_pass(distiller: nn.Module, inputs: torch.Tensor) -> tuple:
    model = distiller.teacher.model
    with torch.no_grad():
        maps = model.extract_feat(distiller.teacher.conversion(inputs))
        return model.bbox_head, maps, model.bbox_head(maps)


def test_ld_is_that_of_mmdets_head_in_other_units():
    """mmdet's LDHead means over the bins and does not divide by the weights of the positive boxes."""
    distiller = taught(dict(LD, loss_weight=0.25))
    data = batch(distiller)
    config = detector()
    config['bbox_head'].update(
        type='LDHead',
        loss_ld=dict(type='KnowledgeDistillationKLDivLoss', loss_weight=0.25, T=10),
    )
    head = built(config).bbox_head
    student = copy.deepcopy(distiller.student)  # The statistics of its norms move in a step.
    head.load_state_dict(student.bbox_head.state_dict())
    _, _, outputs = teacher_pass(distiller, data['inputs'])
    maps = student.extract_feat(data['inputs'])
    theirs = sum(head.loss(maps, outputs, data['data_samples'])['loss_ld'])

    scores, _ = student.bbox_head(maps)
    flat = torch.cat([level.permute(0, 2, 3, 1).flatten(1, 2) for level in scores], 1)
    confidence = flat.sigmoid().amax(2)
    sizes, metas = (
        [level.shape[2:] for level in scores],
        [sample.metainfo for sample in data['data_samples']],
    )
    anchors, valid = student.bbox_head.get_anchors(sizes, metas, device='cpu')
    objects = [sample.gt_instances for sample in data['data_samples']]
    labels = torch.cat(student.bbox_head.get_targets(anchors, valid, objects, metas)[1], 1)
    weights = confidence[(labels >= 0) & (labels < 3)].sum()
    found = distiller(**data, mode='loss')['loss_ld']
    bins = distiller.student.bbox_head.reg_max + 1
    assert theirs > 0
    torch.testing.assert_close(found, theirs * bins / weights, rtol=1e-4, atol=1e-6)


def test_ld_without_labels_reads_none():
    distiller = taught(dict(LD, region='confident'))
    data = batch(distiller)
    expected = distiller(**data, mode='loss')['loss_ld']
    for sample in data['data_samples']:
        sample.gt_instances.labels = 2 - sample.gt_instances.labels
        sample.gt_instances.bboxes = sample.gt_instances.bboxes / 2
    torch.testing.assert_close(distiller(**data, mode='loss')['loss_ld'], expected)


def slow_crosskd(distiller: nn.Module, data: dict, num_convs: int) -> tuple[float, float]:
    """The student's towers up to a convolution, the rest of the teacher's, level by level and box by box."""
    student = copy.deepcopy(distiller.student)
    own, maps = student.bbox_head, student.extract_feat(data['inputs'])
    head, _, (scores, boxes, *_) = teacher_pass(distiller, data['inputs'])
    classes = total = of_boxes = 0.0
    grids = [level.shape[2:] for level in scores]
    priors = head.prior_generator.grid_priors(grids, device='cpu')
    for i, level in enumerate(maps):
        cls_feature = reg_feature = level
        for tower, other in zip(own.cls_convs[:num_convs], own.reg_convs[:num_convs]):
            cls_feature, reg_feature = tower(cls_feature), other(reg_feature)
        for tower, other in zip(head.cls_convs[num_convs:], head.reg_convs[num_convs:]):
            cls_feature, reg_feature = tower(cls_feature), other(reg_feature)
        score, box = head.retina_cls(cls_feature), head.retina_reg(reg_feature)
        for image in range(len(level)):
            z, t = (x[image].permute(1, 2, 0).reshape(-1, 3).sigmoid() for x in (score, scores[i]))
            entropy = -(t * z.log() + (1 - t) * (1 - z).log())
            classes += ((t - z).abs() * entropy).sum().item()
            weights = t.amax(1)
            total += weights.sum().item()
            decoded, target = (
                head.bbox_coder.decode(priors[i], x[image].permute(1, 2, 0).reshape(-1, 4))
                for x in (box, boxes[i])
            )
            overlap = generalized_box_iou(decoded, target).diagonal()
            of_boxes += (weights * (1 - overlap)).sum().item()
    return classes / total, of_boxes / total


@pytest.mark.parametrize('num_convs', [1, 3, 4])
def test_crosskd_is_that_of_a_slow_loop(num_convs):
    distiller = taught(
        dict(CROSSKD, num_convs=num_convs, cls_weight=0.5, box_weight=2.0),
        student=detector('RetinaNet'),
        teacher=detector('RetinaNet'),
    )
    data = batch(distiller)
    classes, boxes = slow_crosskd(distiller, data, num_convs)
    found = distiller(**data, mode='loss')
    assert found['loss_crosskd_cls'].item() == pytest.approx(0.5 * classes, rel=1e-4)
    assert found['loss_crosskd_box'].item() == pytest.approx(2 * boxes, rel=1e-4)


def test_crosskd_teaches_the_kept_convolutions_and_not_the_rest_of_the_students_head():
    distiller = taught(dict(CROSSKD, num_convs=2))
    losses = distiller(**batch(distiller), mode='loss')
    (losses['loss_crosskd_cls'] + losses['loss_crosskd_box']).backward()
    head = distiller.student.bbox_head
    for tower in (head.cls_convs, head.reg_convs):
        learn = [layer.conv.weight.grad is not None for layer in tower]
        assert learn == [True, True, False, False]
    assert head.gfl_cls.weight.grad is None
    assert distiller.student.neck.lateral_convs[0].conv.weight.grad.abs().sum() > 0


def test_a_two_stage_teacher_teaches_by_its_pyramid():
    taps = dict(modules=[f'neck[{i}]' for i in range(1, 4)], last='neck[4]')
    own = dict(modules=[f'neck[{i}]' for i in range(3)], last='neck[3]')
    distiller = taught(PKD, teacher=faster_rcnn(), taps=own, teacher_taps=taps)
    ran = []
    for part in (distiller.teacher.model.rpn_head, distiller.teacher.model.roi_head):
        part.register_forward_hook(lambda *_: ran.append(1))
    assert step(distiller)['loss_pkd'] > 0
    assert not ran


def test_a_detr_teaches_by_its_neck():
    distiller = taught(
        PKD, teacher=detr(), taps=dict(last='neck[2]'), teacher_taps=dict(last='neck[0]')
    )
    assert step(distiller)['loss_pkd'] > 0


def seen_by_teacher(distiller: nn.Module) -> list:
    """Let a teacher see a batch; return the data samples that its model receives."""
    seen = []
    forward = distiller.teacher.model._forward

    def noted(inputs: torch.Tensor, samples: list) -> object:
        seen.extend(samples)
        return forward(inputs, samples)

    distiller.teacher.model._forward = noted
    data = batch(distiller, 64, 96)
    distiller.teacher(data['inputs'], data['data_samples'])
    return seen


def test_a_teacher_whose_transformer_runs_sees_sizes_and_no_labels():
    distiller = taught(
        dict(type='mmmuse.CRDLoss', embed_channels=4, num_negatives=2),
        teacher=detr(),
        taps=dict(last='backbone.layer4'),
        teacher_taps=dict(last='encoder'),
    )
    seen = seen_by_teacher(distiller)
    assert [sample.img_shape[:2] for sample in seen] == [(64, 64), (96, 96)]
    assert all(not hasattr(sample, 'gt_instances') for sample in seen)


def test_sizes_of_a_teacher_of_larger_images_are_its_own():
    distiller = taught(
        dict(type='mmmuse.CRDLoss', embed_channels=4, num_negatives=2),
        teacher=detr(),
        taps=dict(last='backbone.layer4'),
        teacher_taps=dict(last='encoder'),
        teacher_input_size=192,
    )
    seen = seen_by_teacher(distiller)
    assert [sample.img_shape[:2] for sample in seen] == [(128, 128), (192, 192)]
    assert [sample.batch_input_shape for sample in seen] == [(192, 192)] * 2


def test_an_average_has_hooks_of_its_own():
    distiller = taught(LD, CROSSKD)
    average = copy.deepcopy(distiller)
    data = batch(distiller)
    expected = {
        name: value for name, value in average(**data, mode='loss').items() if 'loss_ld' in name
    }
    found = distiller(**data, mode='loss')
    for name, value in expected.items():
        torch.testing.assert_close(found[name], value)
    assert average.head_taps is not distiller.head_taps


def test_bfloat16_gives_finite_losses_of_float32():
    distiller = taught(*LOSSES)
    with torch.autocast('cpu', dtype=torch.bfloat16):
        losses = distiller(**batch(distiller), mode='loss')
    for name in ('loss_cwd', 'loss_pkd', 'loss_mgd', 'loss_ld', 'loss_crosskd_cls'):
        assert losses[name].dtype == torch.float32
        assert losses[name].isfinite()


def test_the_student_predicts_as_without_a_teacher():
    distiller = taught(LD, CROSSKD)
    plain = built(detector())
    plain.load_state_dict(distiller.student.state_dict())
    expected = plain.eval()(**batch(distiller), mode='predict')
    for found, sample in zip(predictions_of(distiller), expected):
        assert torch.equal(found, sample.pred_instances.bboxes)


@pytest.mark.parametrize(
    ('options', 'said'),
    [
        (
            dict(losses=[LD], student=detector('RetinaNet'), teacher=detector('RetinaNet')),
            r'LDLoss compares distributions of box sides, and the RetinaHead of the student predicts '
            'none: use a GFLHead',
        ),
        (
            dict(losses=[LD], teacher=detector(reg_max=9)),
            r'reg_max is 7 in the GFLHead of the student and 9 in the GFLHead of the teacher',
        ),
        (
            dict(losses=[LD], teacher=faster_rcnn(), teacher_taps=dict(last='neck[3]')),
            r'LDLoss reads the dense head of a single-stage detector .* none beside teacher_taps',
        ),
        (
            dict(losses=[CROSSKD], teacher=detr(), teacher_taps=dict(last='neck[0]')),
            r'CrossKDLoss reads the dense head .* none beside teacher_taps',
        ),
        (
            dict(
                losses=[CROSSKD],
                teacher=detector(
                    num_outs=4,
                    anchor_generator=dict(
                        type='AnchorGenerator',
                        ratios=[1.0],
                        octave_base_scale=8,
                        scales_per_octave=1,
                        strides=[8, 16, 32, 64],
                    ),
                ),
                teacher_taps=dict(last='neck[3]'),
            ),
            r'have 8, 16, 32, 64, 128 and 8, 16, 32, 64 levels of strides: take a teacher where the '
            'levels',
        ),
        (
            dict(losses=[CROSSKD], teacher=detector(num_classes=4)),
            r'have 3 and 4 classes: take a teacher where both are trained on the same classes',
        ),
        (
            dict(losses=[dict(CROSSKD, num_convs=5)]),
            r'num_convs is at most 4, the convolutions in a tower of the GFLHead of the student, got 5',
        ),
        (
            dict(losses=[CROSSKD], student=detector('FCOS'), teacher=detector('FOVEA')),
            r'how the FoveaHead of the teacher decodes its boxes is not known: take a RetinaNet',
        ),
        (
            dict(losses=[PKD], teacher=faster_rcnn()),
            r"those of module 1 are 8 \('neck\[0\]' of taps\) and 4 \('neck\[0\]' of teacher_taps\)",
        ),
        (
            dict(losses=[PKD], teacher=detector(num_outs=4)),
            r"tapped module 'neck\[4\]': its output of 4 items has no tensor at that index",
        ),
    ],
)
def test_what_cannot_be_compared_is_one_line(options, said):
    options = dict(options)
    with pytest.raises(InputError, match=said) as error:
        taught(*options.pop('losses'), **options)
    assert '\n' not in str(error.value)


def test_a_teacher_of_larger_images_is_refused_box_by_box():
    distiller = taught(CROSSKD, teacher_input_size=128)
    with pytest.raises(InputError, match=r'predict .* boxes: leave teacher_input_size out'):
        distiller(**batch(distiller), mode='loss')


def test_peers_have_no_heads_to_read():
    peers = {name: dict(model=built(detector()), taps=LEVELS) for name in ('a', 'b')}
    with pytest.raises(InputError, match=r'in mmmuse\.OfflineDistiller, and there is none beside'):
        MODELS.build(dict(type='mmmuse.OnlineDistiller', peers=peers, losses=[LD]))


@pytest.mark.parametrize(
    ('kind', 'decodes'),
    [
        ('RetinaNet', True),
        ('ATSS', True),
        ('FCOS', True),
        ('FOVEA', False),
        ('RepPointsDetector', False),
    ],
)
def test_boxes_are_decoded_only_where_the_head_does_so_with_its_coder(kind, decodes):
    spec = HeadSpec.of(built(dict(detector(kind), train_cfg=None)))
    assert spec.towers
    assert spec.decodes is decodes


def test_the_spec_of_a_head():
    spec = HeadSpec.of(built(detector(width=24)))
    assert (spec.kind, spec.num_classes, spec.num_anchors, spec.reg_max) == ('GFLHead', 3, 1, 7)
    assert spec.strides == (8, 16, 32, 64, 128)
    assert dict(spec.towers) == dict(cls_convs=(24,) * 4, reg_convs=(24,) * 4)
    assert HeadSpec.of(built(faster_rcnn())) is None
    assert HeadSpec.of(built(detr())) is None
