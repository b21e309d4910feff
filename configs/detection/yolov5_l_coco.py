_base_ = 'yolov5_s_coco.py'

model = dict(
    backbone=dict(deepen_factor=1.0, widen_factor=1.0),
    neck=dict(in_channels=[256, 512, 1024], num_csp_blocks=3),
    bbox_head=dict(in_channels=[256, 512, 1024]),
)
