_base_ = 'yolov5_m_coco_mi_x_si.py'

model = dict(head=dict(discrepancy=dict(combine='additive')))
