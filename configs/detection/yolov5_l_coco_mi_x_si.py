_base_ = ['yolov5_s_coco_mi_x_si.py', '../_base_/models/yolov5_sizes.py']

model = dict(student=_base_.sizes.l)
