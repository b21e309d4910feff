"""Small versions of mmdet's detectors, from its configs, train and predict with the replaced ops."""

import numpy as np
import pytest
import torch
from mmdet.registry import MODELS
from mmdet.structures import DetDataSample
from mmdet.structures.mask import BitmapMasks
from mmengine.config import Config
from mmengine.registry import DefaultScope
from mmengine.structures import InstanceData
from torch import nn

from mmmuse.checkpoints.network_config import network_config

SIZE, CLASSES = 64, 3
RESNET = {
    'backbone.stem_channels': 4,
    'backbone.base_channels': 4,
    'backbone.init_cfg': None,
    'backbone.zero_init_residual': False,
    'neck.in_channels': [16, 32, 64, 128],
    'neck.out_channels': 8,
}
DENSE_HEAD = {
    'bbox_head.num_classes': CLASSES,
    'bbox_head.in_channels': 8,
    'bbox_head.feat_channels': 8,
    'bbox_head.stacked_convs': 1,
    'test_cfg.score_thr': 0.0,
    'test_cfg.max_per_img': 20,
}
TWO_STAGES = {
    **RESNET,
    'rpn_head.in_channels': 8,
    'rpn_head.feat_channels': 8,
    'roi_head.bbox_roi_extractor.out_channels': 8,
    'roi_head.bbox_head.in_channels': 8,
    'roi_head.bbox_head.fc_out_channels': 16,
    'roi_head.bbox_head.num_classes': CLASSES,
    'train_cfg.rpn_proposal.nms_pre': 100,
    'train_cfg.rcnn.sampler.num': 64,
    'test_cfg.rpn.nms_pre': 100,
    'test_cfg.rcnn.score_thr': 0.0,
    'test_cfg.rcnn.max_per_img': 20,
}
MASKS = {
    'roi_head.mask_roi_extractor.out_channels': 8,
    'roi_head.mask_head.in_channels': 8,
    'roi_head.mask_head.conv_out_channels': 8,
    'roi_head.mask_head.num_convs': 1,
    'roi_head.mask_head.num_classes': CLASSES,
}
POOLED = {
    'roi_head.bbox_roi_extractor.roi_layer': dict(type='RoIPool', output_size=7, _delete_=True),
    'test_cfg.rcnn.nms.type': 'soft_nms',
}
CSP = {
    'backbone.widen_factor': 0.125,
    'backbone.deepen_factor': 0.167,
    'backbone.init_cfg': None,
    'neck.in_channels': [32, 64, 128],
    'neck.out_channels': 8,
    **DENSE_HEAD,
}
ATTENTION = dict(embed_dims=16, num_heads=2)
FEED_FORWARD = dict(embed_dims=16, feedforward_channels=32)
DETR = {
    'backbone.stem_channels': 4,
    'backbone.base_channels': 4,
    'backbone.init_cfg': None,
    'neck.in_channels': [128],
    'neck.out_channels': 16,
    'num_queries': 10,
    'encoder.num_layers': 1,
    'encoder.layer_cfg': dict(self_attn_cfg=ATTENTION, ffn_cfg=FEED_FORWARD),
    'decoder.num_layers': 2,
    'decoder.layer_cfg': dict(
        self_attn_cfg=ATTENTION, cross_attn_cfg=ATTENTION, ffn_cfg=FEED_FORWARD
    ),
    'positional_encoding.num_feats': 8,
    'bbox_head.embed_dims': 16,
    'bbox_head.num_classes': CLASSES,
    'test_cfg.max_per_img': 10,
}
DETECTORS = {
    'Faster R-CNN': ('faster_rcnn/faster-rcnn_r50_fpn_1x_coco.py', TWO_STAGES),
    'Faster R-CNN, RoIPool': (
        'faster_rcnn/faster-rcnn_r50_fpn_1x_coco.py',
        {**TWO_STAGES, **POOLED},
    ),
    'Mask R-CNN': ('mask_rcnn/mask-rcnn_r50_fpn_1x_coco.py', {**TWO_STAGES, **MASKS}),
    'RetinaNet': ('retinanet/retinanet_r50_fpn_1x_coco.py', {**RESNET, **DENSE_HEAD}),
    'FCOS': (
        'fcos/fcos_r50-caffe_fpn_gn-head_1x_coco.py',
        {**RESNET, **DENSE_HEAD, 'bbox_head.norm_cfg': dict(type='GN', num_groups=2)},
    ),
    'RTMDet': ('rtmdet/rtmdet_tiny_8xb32-300e_coco.py', CSP),
    'YOLOX': (
        'yolox/yolox_tiny_8xb8-300e_coco.py',
        {**CSP, 'data_preprocessor.batch_augments': None},
    ),
    'DETR': ('detr/detr_r50_8xb2-150e_coco.py', DETR),
    'DCN': ('dcn/faster-rcnn_r50-dconv-c3-c5_fpn_1x_coco.py', TWO_STAGES),
    'DCNv2': ('dcnv2/faster-rcnn_r50-mdconv-c3-c5_fpn_1x_coco.py', TWO_STAGES),
}


def detector(name: str) -> nn.Module:
    file, changes = DETECTORS[name]
    config = Config(network_config(f'mmdet::{file}'))
    config.merge_from_dict(changes)
    with DefaultScope.overwrite_default_scope('mmdet'):
        model = MODELS.build(config._cfg_dict)
        model.init_weights()
    return model


def batch(model: nn.Module, training: bool) -> dict:
    """Two random images with two boxes, whose whole areas are the masks."""
    boxes = torch.tensor([[4.0, 4.0, 36.0, 40.0], [20.0, 10.0, 60.0, 62.0]])
    masks = np.zeros((2, SIZE, SIZE), dtype=np.uint8)
    for mask, (x1, y1, x2, y2) in zip(masks, boxes.int().tolist()):
        mask[y1:y2, x1:x2] = 1
    samples = []
    for _ in range(2):
        sample = DetDataSample(
            metainfo=dict(img_shape=(SIZE, SIZE), ori_shape=(SIZE, SIZE), scale_factor=(1.0, 1.0))
        )
        sample.gt_instances = InstanceData(bboxes=boxes.clone(), labels=torch.tensor([0, 2]))
        if model.with_mask:
            sample.gt_instances.masks = BitmapMasks(masks, SIZE, SIZE)
        samples.append(sample)
    images = list(torch.randint(0, 256, (2, 3, SIZE, SIZE), dtype=torch.uint8))
    return model.data_preprocessor(dict(inputs=images, data_samples=samples), training)


def learn(model: nn.Module) -> tuple[dict, set[str]]:
    """Take a step; return the named losses and the weights that moved."""
    before = {name: weight.detach().clone() for name, weight in model.named_parameters()}
    optimizer = torch.optim.SGD(model.parameters(), lr=1e-2)
    loss, named = model.parse_losses(model(**batch(model, True), mode='loss'))
    loss.backward()
    optimizer.step()
    after = dict(model.named_parameters())
    return named, {name for name in before if not torch.equal(before[name], after[name])}


@pytest.mark.parametrize('name', DETECTORS)
def test_a_detector_takes_a_step_and_predicts(name):
    model = detector(name).train()
    losses, moved = learn(model)
    assert {'loss_cls', 'loss_bbox'} <= set(losses)
    assert ('loss_mask' in losses) == (name == 'Mask R-CNN')
    assert all(torch.isfinite(loss) for loss in losses.values())
    for part in ('backbone', 'neck', 'roi_head' if 'CNN' in name else 'head'):
        assert any(part in weight for weight in moved)
    with torch.no_grad():
        found = model.eval()(**batch(model, False), mode='predict')
    assert [type(sample) for sample in found] == [DetDataSample, DetDataSample]
    for instances in (sample.pred_instances for sample in found):
        assert len(instances) > 0
        assert instances.bboxes.shape == (len(instances), 4)
        assert torch.isfinite(instances.bboxes).all()
        assert set(instances.labels.tolist()) <= set(range(CLASSES))
        assert (instances.scores.diff() <= 0).all()
        if name == 'Mask R-CNN':
            assert instances.masks.shape == (len(instances), SIZE, SIZE)


@pytest.mark.parametrize('name', ['DCN', 'DCNv2'])
def test_the_convolutions_of_the_offsets_learn(name):
    model = detector(name).train()
    _, moved = learn(model)
    offsets = {weight for weight, _ in model.named_parameters() if 'conv_offset' in weight}
    assert len(offsets) == 2 * (4 + 6 + 3)  # weight and bias in each block of three stages
    assert offsets <= moved


@pytest.mark.parametrize('name', ['Faster R-CNN', 'Faster R-CNN, RoIPool'])
def test_a_second_stage_teaches_the_backbone_through_its_regions(name):
    model = detector(name)
    model(**batch(model, True), mode='loss')['loss_cls'].backward()
    assert model.backbone.layer4[0].conv1.weight.grad.abs().sum() > 0
    assert model.rpn_head.rpn_conv.weight.grad is None
