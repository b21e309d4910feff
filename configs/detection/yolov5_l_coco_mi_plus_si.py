_base_ = 'yolov5_l_coco_mi_x_si.py'

model = dict(head=dict(discrepancy=dict(combine='additive')))
