_base_ = 'resnet18_imagenet_mi_x_si.py'

model = dict(head=dict(discrepancy=dict(combine='additive')))
