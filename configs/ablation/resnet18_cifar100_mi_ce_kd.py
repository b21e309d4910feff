# Table 5, row MI + CE + KD.
_base_ = '../muse/resnet18_cifar100_mi_x_si.py'

model = dict(head=dict(discrepancy=dict(combine='mi')))
