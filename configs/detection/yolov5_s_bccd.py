# A YOLOv5 of size S at 320 px: the teacher of the pairs in configs/offline_detection.
_base_ = 'yolov5_n_bccd.py'

model = dict(
    backbone=dict(widen_factor=0.5),
    neck=dict(in_channels=[128, 256, 512]),
    bbox_head=dict(in_channels=[128, 256, 512]),
)
