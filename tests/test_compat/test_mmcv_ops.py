import subprocess
import sys
from importlib.util import find_spec, module_from_spec

import mmcv.ops
import numpy as np
import pytest
import torch
import torchvision
from mmdet.registry import MODELS
from mmdet.structures import DetDataSample
from mmengine.config import ConfigDict
from mmengine.registry import DefaultScope
from mmengine.structures import InstanceData
from torch import Tensor

from mmmuse.compat import stand_in_for_mmcv_ops
from mmmuse.compat.finder import LastResort
from mmmuse.errors import InputError

SPEC = LastResort.find_spec('mmcv._ext', mmcv.__path__)
STAND_IN = module_from_spec(SPEC)
SPEC.loader.exec_module(STAND_IN)


@pytest.fixture(autouse=True)
def _stand_in(monkeypatch):
    """Has mmcv use the stand-in, were the real ops installed here."""
    for file in ('nms', 'roi_align', 'focal_loss'):
        monkeypatch.setattr(sys.modules[f'mmcv.ops.{file}'], 'ext_module', STAND_IN)


# Who is found


def test_mmdet_is_imported_after_mmmuse():
    script = 'import mmmuse, mmdet.models; from mmcv.ops import nms, DeformConv2d'
    subprocess.run([sys.executable, '-W', 'ignore', '-c', script], check=True)


def test_real_ops_win(monkeypatch, tmp_path):
    real = tmp_path / '_ext.py'
    real.write_text('')
    monkeypatch.delitem(sys.modules, 'mmcv._ext')
    assert find_spec('mmcv._ext').origin == SPEC.origin
    monkeypatch.setattr(mmcv, '__path__', [*mmcv.__path__, str(tmp_path)])
    assert find_spec('mmcv._ext').origin == str(real)


def test_nothing_is_found_for_an_mmcv_without_ops(tmp_path):
    assert LastResort.find_spec('mmcv._ext', [str(tmp_path)]) is None
    assert LastResort.find_spec('mmcv._another', mmcv.__path__) is None


def test_standing_in_twice_adds_one_finder_at_the_end():
    before = list(sys.meta_path)
    stand_in_for_mmcv_ops()
    assert sys.meta_path == before
    assert before.count(LastResort) == 1


def test_another_op_is_there_and_raises_one_line_when_called():
    op = STAND_IN.deform_conv_forward
    with pytest.raises(InputError, match=r'deform_conv_forward needs .*pip install') as error:
        op(1, groups=2)
    assert len(str(error.value).splitlines()) == 1


def test_a_special_name_is_no_op():
    assert not hasattr(STAND_IN, '__path__')


def test_the_environment_can_be_collected():
    assert STAND_IN.get_compiler_version() == STAND_IN.get_compiling_cuda_version() == 'n/a'


def test_it_says_once_that_it_stands_in(monkeypatch):
    said = []
    monkeypatch.setattr(STAND_IN, 'print_log', lambda message, **_: said.append(message))
    STAND_IN._say_so_once.cache_clear()
    for _ in range(2):
        mmcv.ops.nms(torch.rand(3, 4), torch.rand(3), 0.5)
    assert len(said) == 1
    assert "mmcv's compiled ops are not installed" in said[0]


# What is computed


def some_boxes(seed: int, count: int = 40) -> tuple[np.ndarray, np.ndarray]:
    random = np.random.default_rng(seed)
    corners = random.uniform(0, 30, (count, 2))
    boxes = np.concatenate([corners, corners + random.uniform(1, 20, (count, 2))], axis=1)
    return boxes, random.permutation(count) / count


def overlap(one: np.ndarray, other: np.ndarray, offset: int) -> float:
    def size(x1, y1, x2, y2):
        return max(0, x2 - x1 + offset) * max(0, y2 - y1 + offset)

    both = size(*np.maximum(one[:2], other[:2]), *np.minimum(one[2:], other[2:]))
    return both / (size(*one) + size(*other) - both)


@pytest.mark.parametrize('offset', [0, 1])
@pytest.mark.parametrize('seed', range(4))
def test_nms_is_the_greedy_choice(seed, offset):
    boxes, scores = some_boxes(seed)
    kept = []
    for candidate in np.argsort(-scores):
        if all(overlap(boxes[candidate], boxes[better], offset) <= 0.3 for better in kept):
            kept.append(candidate)
    dets, indices = mmcv.ops.nms(boxes, scores, 0.3, offset)
    assert 3 < len(kept) < len(boxes)
    assert indices.tolist() == kept
    np.testing.assert_array_equal(dets, np.column_stack([boxes, scores])[kept])


def test_offset_counts_the_last_pixel():
    # Widths 2 and 2 with an overlap of 1: 1/3; widths 3 and 3 with an overlap of 2: 1/2.
    boxes = torch.tensor([[0.0, 0.0, 2.0, 9.0], [1.0, 0.0, 3.0, 9.0]])
    scores = torch.tensor([0.4, 0.6])
    assert mmcv.ops.nms(boxes, scores, 0.4, offset=0)[1].tolist() == [1, 0]
    assert mmcv.ops.nms(boxes, scores, 0.4, offset=1)[1].tolist() == [1]


def test_nms_takes_nothing_and_half_precision():
    assert len(mmcv.ops.nms(torch.zeros(0, 4), torch.zeros(0), 0.5)[1]) == 0
    boxes = torch.tensor([[0, 0, 4, 4], [0, 0, 4, 5], [9, 9, 12, 12]])
    scores = torch.tensor([0.5, 0.75, 0.25])
    assert mmcv.ops.nms(boxes.half(), scores.half(), 0.5)[1].tolist() == [1, 2]


def soft_weight(method: str, overlap: float) -> float:
    if method == 'gaussian':
        return np.exp(-(overlap**2) / 0.5)
    return 1.0 if overlap < 0.3 else {'naive': 0.0, 'linear': 1 - overlap}[method]


@pytest.mark.parametrize('offset', [0, 1])
@pytest.mark.parametrize('method', ['naive', 'linear', 'gaussian'])
def test_soft_nms_lowers_the_scores_of_what_overlaps(method, offset):
    boxes, scores = some_boxes(5)
    left, kept, kept_scores = dict(enumerate(scores)), [], []
    while left:
        best = max(left, key=left.get)
        kept.append(best)
        kept_scores.append(left.pop(best))
        for index in list(left):
            left[index] *= soft_weight(method, overlap(boxes[index], boxes[best], offset))
            if left[index] < 0.1:
                del left[index]
    dets, indices = mmcv.ops.soft_nms(
        boxes, scores, 0.3, sigma=0.5, min_score=0.1, method=method, offset=offset
    )
    assert 3 < len(kept) < len(boxes)
    assert indices.tolist() == kept
    np.testing.assert_allclose(dets, np.column_stack([boxes[kept], kept_scores]))


REGIONS = torch.tensor(
    [[0, 1.0, 2.0, 13.0, 9.0], [1, 0.0, 0.0, 5.5, 30.0], [0, 3.0, 3.0, 3.4, 3.2]]
)


@pytest.mark.parametrize('aligned', [True, False])
@pytest.mark.parametrize('sampling_ratio', [0, 2])
def test_roi_align_and_its_gradient_are_torchvisions(aligned, sampling_ratio):
    features = torch.randn(2, 3, 8, 9, requires_grad=True)
    theirs = torchvision.ops.roi_align(features, REGIONS, (3, 2), 0.5, sampling_ratio, aligned)
    ours = mmcv.ops.RoIAlign((3, 2), 0.5, sampling_ratio, aligned=aligned)(features, REGIONS)
    torch.testing.assert_close(ours, theirs, rtol=0, atol=0)
    weights = torch.randn_like(ours)
    gradients = [torch.autograd.grad((out * weights).sum(), features)[0] for out in (ours, theirs)]
    assert gradients[0].abs().sum() > 0
    torch.testing.assert_close(*gradients)


def test_roi_align_passes_gradcheck():
    features = torch.randn(2, 2, 5, 6, dtype=torch.float64, requires_grad=True)
    align = mmcv.ops.RoIAlign((2, 3), 0.25, 2)
    assert torch.autograd.gradcheck(lambda x: align(x, REGIONS.double()), features)


@pytest.mark.parametrize('dtype', [torch.float16, torch.bfloat16])
def test_roi_align_in_half_precision_is_rounded_once(dtype):
    align = mmcv.ops.RoIAlign((2, 3), 0.25, 2)
    features = torch.randn(2, 2, 5, 6).to(dtype).requires_grad_()
    pooled = align(features, REGIONS.to(dtype))
    assert pooled.dtype == dtype
    torch.testing.assert_close(pooled, align(features.float(), REGIONS.to(dtype).float()).to(dtype))
    pooled.sum().backward()
    assert features.grad.dtype == dtype


def test_roi_align_refuses_max_pooling():
    align = mmcv.ops.RoIAlign((2, 2), pool_mode='max')
    with pytest.raises(InputError, match="pool_mode='max'"):
        align(torch.randn(2, 1, 4, 4), REGIONS)


def reference_focal_loss(logits: Tensor, target: Tensor, weight: Tensor | None) -> Tensor:
    chance = torch.sigmoid(logits)
    loss = torch.zeros_like(logits)
    for row, label in enumerate(target):
        for column in range(logits.shape[1]):
            p = chance[row, column]
            if label == column:
                loss[row, column] = -0.25 * (1 - p) ** 2 * torch.log(p)
            else:
                loss[row, column] = -0.75 * p**2 * torch.log(1 - p)
            if weight is not None:
                loss[row, column] *= weight[label]
    return loss


@pytest.mark.parametrize('weighted', [False, True])
def test_focal_loss_and_its_gradient(weighted):
    logits = torch.randn(4, 3, dtype=torch.float64, requires_grad=True)
    # Background, the label 3, has no class weight.
    target = torch.tensor([0, 2, 1, 1] if weighted else [0, 2, 3, 1])
    weight = torch.tensor([0.5, 1.0, 2.0], dtype=torch.float64) if weighted else None

    def focal_loss(logits):
        return mmcv.ops.sigmoid_focal_loss(logits, target, 2.0, 0.25, weight, 'none')

    torch.testing.assert_close(focal_loss(logits), reference_focal_loss(logits, target, weight))
    assert torch.autograd.gradcheck(lambda x: focal_loss(x).sum(), logits)


def test_focal_loss_of_extreme_logits_is_finite():
    logits = torch.tensor([[200.0, -200.0]], requires_grad=True)
    loss = mmcv.ops.sigmoid_focal_loss(logits, torch.tensor([1]), 2.0, 0.25, None, 'none')
    loss.sum().backward()
    torch.testing.assert_close(loss, torch.tensor([[150.0, 50.0]]))
    torch.testing.assert_close(logits.grad, torch.tensor([[0.75, -0.25]]))


# Whole detectors

CODER = dict(type='DeltaXYWHBBoxCoder', target_means=[0.0] * 4, target_stds=[1.0] * 4)
RESNET = dict(type='ResNet', depth=18, stem_channels=4, base_channels=4, norm_eval=False)


def assigner(positive: float, negative: float) -> dict:
    return dict(type='MaxIoUAssigner', pos_iou_thr=positive, neg_iou_thr=negative, min_pos_iou=0)


def yolox() -> dict:
    return dict(
        type='YOLOX',
        backbone=dict(type='CSPDarknet', deepen_factor=0.33, widen_factor=0.125),
        neck=dict(type='YOLOXPAFPN', in_channels=[32, 64, 128], out_channels=16, num_csp_blocks=1),
        bbox_head=dict(type='YOLOXHead', num_classes=3, in_channels=16, feat_channels=16),
        train_cfg=dict(assigner=dict(type='SimOTAAssigner', center_radius=2.5)),
        test_cfg=dict(score_thr=0.0, nms=dict(type='nms', iou_threshold=0.65)),
    )


def retinanet() -> dict:
    return dict(
        type='RetinaNet',
        backbone=RESNET,
        neck=dict(
            type='FPN',
            in_channels=[4, 8, 16, 32],
            out_channels=8,
            start_level=1,
            add_extra_convs='on_input',
            num_outs=5,
        ),
        bbox_head=dict(
            type='RetinaHead',
            num_classes=3,
            in_channels=8,
            stacked_convs=1,
            feat_channels=8,
            anchor_generator=dict(
                type='AnchorGenerator',
                octave_base_scale=4,
                scales_per_octave=1,
                ratios=[1.0],
                strides=[8, 16, 32, 64, 128],
            ),
            bbox_coder=CODER,
        ),
        train_cfg=dict(
            assigner=assigner(0.5, 0.4),
            sampler=dict(type='PseudoSampler'),
            allowed_border=-1,
            pos_weight=-1,
        ),
        test_cfg=dict(
            nms_pre=100,
            min_bbox_size=0,
            score_thr=0.0,
            nms=dict(type='nms', iou_threshold=0.5),
            max_per_img=20,
        ),
    )


def faster_rcnn() -> dict:
    proposals = dict(
        nms_pre=100, max_per_img=50, nms=dict(type='nms', iou_threshold=0.7), min_bbox_size=0
    )
    sampler = dict(type='RandomSampler', num=64, pos_fraction=0.5)
    return dict(
        type='FasterRCNN',
        backbone=RESNET,
        neck=dict(type='FPN', in_channels=[4, 8, 16, 32], out_channels=8, num_outs=5),
        rpn_head=dict(
            type='RPNHead',
            in_channels=8,
            feat_channels=8,
            anchor_generator=dict(
                type='AnchorGenerator', scales=[8], ratios=[1.0, 2.0], strides=[4, 8, 16, 32, 64]
            ),
            bbox_coder=CODER,
        ),
        roi_head=dict(
            type='StandardRoIHead',
            bbox_roi_extractor=dict(
                type='SingleRoIExtractor',
                roi_layer=dict(type='RoIAlign', output_size=3, sampling_ratio=0),
                out_channels=8,
                featmap_strides=[4, 8, 16, 32],
            ),
            bbox_head=dict(
                type='Shared2FCBBoxHead',
                in_channels=8,
                fc_out_channels=8,
                roi_feat_size=3,
                num_classes=3,
                bbox_coder=CODER,
            ),
        ),
        train_cfg=dict(
            rpn=dict(
                assigner=assigner(0.7, 0.3), sampler=sampler, allowed_border=-1, pos_weight=-1
            ),
            rpn_proposal=proposals,
            rcnn=dict(
                assigner=assigner(0.5, 0.5),
                sampler=dict(sampler, add_gt_as_proposals=True),
                pos_weight=-1,
            ),
        ),
        test_cfg=dict(
            rpn=proposals,
            rcnn=dict(score_thr=0.0, nms=dict(type='soft_nms', iou_threshold=0.5), max_per_img=20),
        ),
    )


def detector(config: dict) -> torch.nn.Module:
    with DefaultScope.overwrite_default_scope('mmdet'):
        model = MODELS.build(ConfigDict(config, data_preprocessor=dict(type='DetDataPreprocessor')))
        model.init_weights()
    return model


def batch(model: torch.nn.Module, training: bool) -> dict:
    """Two random images of 64 pixels with two boxes each."""
    samples = []
    for _ in range(2):
        sample = DetDataSample(
            metainfo=dict(img_shape=(64, 64), ori_shape=(64, 64), scale_factor=(1.0, 1.0))
        )
        sample.gt_instances = InstanceData(
            bboxes=torch.tensor([[4.0, 4.0, 36.0, 40.0], [20.0, 10.0, 60.0, 62.0]]),
            labels=torch.tensor([0, 2]),
        )
        samples.append(sample)
    images = list(torch.randint(0, 256, (2, 3, 64, 64), dtype=torch.uint8))
    return model.data_preprocessor(dict(inputs=images, data_samples=samples), training)


@pytest.mark.parametrize('config', [yolox, retinanet, faster_rcnn])
def test_a_small_detector_takes_a_step_and_predicts(config):
    model = detector(config())
    optimizer = torch.optim.SGD(model.parameters(), lr=1e-3)
    loss, named = model.parse_losses(model(**batch(model, True), mode='loss'))
    loss.backward()
    optimizer.step()
    assert torch.isfinite(loss)
    assert {'loss_cls', 'loss_bbox'} <= set(named)
    assert all(parameter.grad is not None for parameter in model.backbone.parameters())
    with torch.no_grad():
        first, _ = model.eval()(**batch(model, False), mode='predict')
    found = first.pred_instances
    assert len(found) > 0
    assert found.bboxes.shape == (len(found), 4)
    assert (found.scores.diff() <= 0).all()


def test_faster_rcnns_second_stage_teaches_its_backbone_through_roi_align():
    model = detector(faster_rcnn())
    losses = model(**batch(model, True), mode='loss')
    losses['loss_cls'].backward()
    assert model.backbone.conv1.weight.grad.abs().sum() > 0
    assert model.rpn_head.rpn_conv.weight.grad is None
