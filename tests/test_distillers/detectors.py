"""Small detectors of mmdet, which teach and learn."""

import torch
from mmdet.testing import demo_mm_inputs
from mmengine.config import ConfigDict
from mmengine.model import BaseModel
from torch import nn

from mmmuse.distillers import OfflineDistiller
from mmmuse.registry import MODELS

LEVELS = dict(modules=[f'neck[{i}]' for i in range(4)], last='neck[4]')
_NORM = dict(type='GN', num_groups=4)
_BACKBONE = dict(
    type='ResNet', depth=18, base_channels=8, stem_channels=8, norm_cfg=dict(type='BN')
)
_CHANNELS = [8, 16, 32, 64]
_PREPROCESSOR = dict(
    type='DetDataPreprocessor', mean=[127.0] * 3, std=[60.0] * 3, pad_size_divisor=32
)
_ATSS = dict(type='ATSSAssigner', topk=9)
_BY_IOU = dict(type='MaxIoUAssigner', pos_iou_thr=0.5, neg_iou_thr=0.4, min_pos_iou=0)
_TEST = dict(nms_pre=100, score_thr=0.05, nms=dict(type='nms', iou_threshold=0.6), max_per_img=10)
_HEAD = dict(num_classes=3, stacked_convs=4, norm_cfg=_NORM)
_ANCHORS = dict(
    type='AnchorGenerator',
    ratios=[1.0],
    octave_base_scale=8,
    scales_per_octave=1,
    strides=[8, 16, 32, 64, 128],
)
_CODER = dict(type='DeltaXYWHBBoxCoder')
_FOCAL = dict(type='FocalLoss', use_sigmoid=True)
HEADS = {
    'GFL': dict(
        type='GFLHead',
        anchor_generator=_ANCHORS,
        reg_max=7,
        loss_cls=dict(type='QualityFocalLoss', use_sigmoid=True),
        loss_dfl=dict(type='DistributionFocalLoss', loss_weight=0.25),
        loss_bbox=dict(type='GIoULoss', loss_weight=2.0),
    ),
    'RetinaNet': dict(
        type='RetinaHead',
        anchor_generator=_ANCHORS,
        bbox_coder=_CODER,
        loss_cls=_FOCAL,
        loss_bbox=dict(type='L1Loss'),
    ),
    'ATSS': dict(
        type='ATSSHead',
        anchor_generator=_ANCHORS,
        bbox_coder=_CODER,
        loss_cls=_FOCAL,
        loss_bbox=dict(type='GIoULoss'),
        loss_centerness=dict(type='CrossEntropyLoss', use_sigmoid=True),
    ),
    'FCOS': dict(
        type='FCOSHead',
        strides=[8, 16, 32, 64, 128],
        norm_on_bbox=True,
        loss_cls=_FOCAL,
        loss_bbox=dict(type='GIoULoss'),
        loss_centerness=dict(type='CrossEntropyLoss', use_sigmoid=True),
    ),
    'FOVEA': dict(
        type='FoveaHead',
        strides=[8, 16, 32, 64, 128],
        loss_cls=_FOCAL,
        loss_bbox=dict(type='SmoothL1Loss'),
    ),
    'RepPointsDetector': dict(type='RepPointsHead', point_feat_channels=8),
}


def detector(kind: str = 'GFL', width: int = 16, num_outs: int = 5, **head) -> dict:
    """A single-stage detector on a narrow ResNet-18."""
    config = dict(HEADS[kind], in_channels=width, feat_channels=width, **_HEAD)
    config.update(head)
    return dict(
        type=kind,
        _scope_='mmdet',
        data_preprocessor=_PREPROCESSOR,
        backbone=_BACKBONE,
        neck=dict(
            type='FPN',
            in_channels=_CHANNELS,
            out_channels=width,
            start_level=1,
            add_extra_convs='on_output',
            num_outs=num_outs,
        ),
        bbox_head=config,
        train_cfg=dict(
            assigner=_BY_IOU if kind == 'RetinaNet' else _ATSS, allowed_border=-1, pos_weight=-1
        ),
        test_cfg=_TEST,
    )


def faster_rcnn(width: int = 16) -> dict:
    """A two-stage detector, whose pyramid starts at stride 4."""
    match = dict(type='MaxIoUAssigner', pos_iou_thr=0.5, neg_iou_thr=0.5, min_pos_iou=0.5)
    sample = dict(type='RandomSampler', num=32, pos_fraction=0.5, neg_pos_ub=-1)
    rpn = dict(nms_pre=50, max_per_img=20, nms=dict(type='nms', iou_threshold=0.7), min_bbox_size=0)
    return dict(
        type='FasterRCNN',
        _scope_='mmdet',
        data_preprocessor=_PREPROCESSOR,
        backbone=_BACKBONE,
        neck=dict(type='FPN', in_channels=_CHANNELS, out_channels=width, num_outs=5),
        rpn_head=dict(
            type='RPNHead',
            in_channels=width,
            feat_channels=width,
            anchor_generator=dict(
                type='AnchorGenerator', scales=[8], ratios=[1.0], strides=[4, 8, 16, 32, 64]
            ),
            bbox_coder=_CODER,
            loss_cls=dict(type='CrossEntropyLoss', use_sigmoid=True),
            loss_bbox=dict(type='L1Loss'),
        ),
        roi_head=dict(
            type='StandardRoIHead',
            bbox_roi_extractor=dict(
                type='SingleRoIExtractor',
                roi_layer=dict(type='RoIAlign', output_size=7, sampling_ratio=0),
                out_channels=width,
                featmap_strides=[4, 8, 16, 32],
            ),
            bbox_head=dict(
                type='Shared2FCBBoxHead',
                in_channels=width,
                fc_out_channels=16,
                roi_feat_size=7,
                num_classes=3,
                bbox_coder=_CODER,
                reg_class_agnostic=False,
                loss_cls=dict(type='CrossEntropyLoss', use_sigmoid=False),
                loss_bbox=dict(type='L1Loss'),
            ),
        ),
        train_cfg=dict(
            rpn=dict(assigner=match, sampler=sample, allowed_border=-1, pos_weight=-1),
            rpn_proposal=rpn,
            rcnn=dict(assigner=match, sampler=sample, pos_weight=-1),
        ),
        test_cfg=dict(rpn=rpn, rcnn=dict(score_thr=0.05, nms=_TEST['nms'], max_per_img=10)),
    )


def detr(width: int = 16) -> dict:
    """A DETR of one encoder and one decoder layer, whose neck has one level, of stride 32."""
    attention = dict(embed_dims=width, num_heads=2, batch_first=True)
    ffn = dict(embed_dims=width, feedforward_channels=16, num_fcs=2)
    return dict(
        type='DETR',
        _scope_='mmdet',
        num_queries=5,
        data_preprocessor=_PREPROCESSOR,
        backbone={**_BACKBONE, 'out_indices': (3,)},
        neck=dict(
            type='ChannelMapper',
            in_channels=[64],
            kernel_size=1,
            out_channels=width,
            act_cfg=None,
            num_outs=1,
        ),
        encoder=dict(num_layers=1, layer_cfg=dict(self_attn_cfg=attention, ffn_cfg=ffn)),
        decoder=dict(
            num_layers=1,
            layer_cfg=dict(self_attn_cfg=attention, cross_attn_cfg=attention, ffn_cfg=ffn),
            return_intermediate=True,
        ),
        positional_encoding=dict(num_feats=width // 2, normalize=True),
        bbox_head=dict(
            type='DETRHead',
            num_classes=3,
            embed_dims=width,
            loss_cls=dict(type='CrossEntropyLoss', bg_cls_weight=0.1, class_weight=1.0),
            loss_bbox=dict(type='L1Loss'),
            loss_iou=dict(type='GIoULoss'),
        ),
        train_cfg=dict(
            assigner=dict(
                type='HungarianAssigner', match_costs=[dict(type='ClassificationCost', weight=1.0)]
            )
        ),
        test_cfg=dict(max_per_img=5),
    )


def built(config: dict) -> BaseModel:
    """Build a network; its random state is that of its own initialisation."""
    network = MODELS.build(ConfigDict(config))
    network.init_weights()
    return network


def taught(
    *losses: dict, student: dict | None = None, teacher: dict | None = None, **options
) -> OfflineDistiller:
    """A small GFL that learns from another one, in training mode."""
    config = dict(
        type='mmmuse.OfflineDistiller',
        student=built(student or detector()),
        teacher=built(teacher or detector()),
        taps=LEVELS,
        losses=list(losses),
    )
    return MODELS.build({**config, **options}).train()


def batch(distiller: nn.Module, *sizes: int) -> dict:
    """Two images with boxes, as the student's preprocessor gives them."""
    torch.manual_seed(0)
    shapes = [[3, size, size] for size in sizes or (64, 64)]
    return distiller.data_preprocessor(demo_mm_inputs(2, shapes, num_classes=3), True)


def step(distiller: OfflineDistiller) -> dict[str, torch.Tensor]:
    """Run a training step, and check that everything that is trained gets a gradient."""
    losses = distiller(**batch(distiller), mode='loss')
    total, _ = distiller.parse_losses(losses)
    total.backward()
    missing = [
        name
        for name, parameter in distiller.named_parameters()
        if parameter.requires_grad and parameter.grad is None
    ]
    assert missing == []
    return losses
