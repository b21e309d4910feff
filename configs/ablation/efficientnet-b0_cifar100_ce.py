# Table 5, row CE, EfficientNet-B0.
_base_ = '../muse/efficientnet-b0_cifar100_mi_x_si.py'

model = dict(head=dict(discrepancy=None, kd_weight=0.0))
