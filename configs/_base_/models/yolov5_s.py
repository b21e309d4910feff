# YOLOv5 (version 5.0), size S; a size is the backbone's deepen_factor and widen_factor, and what follows from them.
model = dict(
    type='SingleStageDetector',
    _scope_='mmdet',
    data_preprocessor=dict(
        type='DetDataPreprocessor',
        mean=[0.0, 0.0, 0.0],
        std=[255.0, 255.0, 255.0],
        bgr_to_rgb=True,
        pad_size_divisor=32,
        pad_value=114 / 255,
    ),
    backbone=dict(
        type='CSPDarknet',
        deepen_factor=0.33,
        widen_factor=0.5,
        norm_cfg=dict(type='BN', momentum=0.03, eps=0.001),
        act_cfg=dict(type='Swish'),
    ),
    neck=dict(type='mmmuse.YOLOv5PAFPN', in_channels=[128, 256, 512], num_csp_blocks=1),
    bbox_head=dict(
        type='mmmuse.YOLOv5Head',
        num_classes=80,
        in_channels=[128, 256, 512],
        prior_generator=dict(
            type='mmdet.YOLOAnchorGenerator',
            base_sizes=[
                [(10, 13), (16, 30), (33, 23)],
                [(30, 61), (62, 45), (59, 119)],
                [(116, 90), (156, 198), (373, 326)],
            ],
            strides=[8, 16, 32],
        ),
    ),
    train_cfg=None,
    test_cfg=dict(
        score_thr=0.001, nms_pre=30000, nms=dict(type='nms', iou_threshold=0.65), max_per_img=300
    ),
)
