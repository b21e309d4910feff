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
