# Table 5, row (MI x SI) + CE.
_base_ = '../muse/resnet18_cifar100_mi_x_si.py'

model = dict(head=dict(kd_weight=0.0))
