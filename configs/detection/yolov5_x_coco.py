_base_ = 'yolov5_s_coco.py'

model = dict(
    backbone=dict(deepen_factor=1.33, widen_factor=1.25),
    neck=dict(in_channels=[320, 640, 1280], num_csp_blocks=4),
    bbox_head=dict(in_channels=[320, 640, 1280]),
)
