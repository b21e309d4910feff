_base_ = 'resnet34_tinyimagenet_mi_x_si.py'

model = dict(head=dict(discrepancy=dict(combine='additive')))
