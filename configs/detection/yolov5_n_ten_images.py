# Adam, whose steps do not shrink with the batch as those of YOLOv5's sums of losses do.
_base_ = [
    '../_base_/models/yolov5_s.py',
    '../_base_/datasets/ten_images_416.py',
    '../_base_/schedules/yolov5_300e.py',
    '../_base_/detection_runtime.py',
]

model = dict(
    backbone=dict(widen_factor=0.25),
    neck=dict(in_channels=[64, 128, 256]),
    bbox_head=dict(in_channels=[64, 128, 256]),
)
optim_wrapper = dict(optimizer=dict(_delete_=True, type='AdamW', lr=0.002, weight_decay=0.0))
param_scheduler = [
    dict(type='LinearLR', start_factor=0.01, by_epoch=False, end=20),
    dict(type='CosineAnnealingLR', eta_min_ratio=0.05, begin=10, T_max=290, end=300),
]
