# Table 5, row CE + KD.
_base_ = '../muse/resnet18_cifar100_mi_x_si.py'

model = dict(head=dict(discrepancy=None))
