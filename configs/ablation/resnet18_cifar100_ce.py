# Table 5, row CE.
_base_ = '../muse/resnet18_cifar100_mi_x_si.py'

model = dict(head=dict(discrepancy=None, kd_weight=0.0))
