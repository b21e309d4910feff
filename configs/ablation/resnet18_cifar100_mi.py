# Table 5, row MI.
_base_ = '../muse/resnet18_cifar100_mi_x_si.py'

model = dict(head=dict(discrepancy=dict(combine='mi'), ce_weight=0.0, kd_weight=0.0))
