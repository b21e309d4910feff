_base_ = 'yolov5_s_coco.py'

model = dict(
    backbone=dict(deepen_factor=0.67, widen_factor=0.75),
    neck=dict(in_channels=[192, 384, 768], num_csp_blocks=2),
    bbox_head=dict(in_channels=[192, 384, 768]),
)
