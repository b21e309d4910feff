_base_ = ['yolov5_s_coco.py', '../_base_/models/yolov5_sizes.py']

model = _base_.sizes.m
