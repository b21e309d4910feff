# A YOLOv5 of depth 0.33 and width 0.25 ("N") at 320 px: what two CPU cores can train.
_base_ = [
    '../_base_/models/yolov5_s.py',
    '../_base_/datasets/bccd_mosaic_320.py',
    '../_base_/schedules/yolov5_300e.py',
    '../_base_/detection_runtime.py',
]

model = dict(
    backbone=dict(widen_factor=0.25),
    neck=dict(in_channels=[64, 128, 256]),
    bbox_head=dict(num_classes=3, in_channels=[64, 128, 256]),
)
