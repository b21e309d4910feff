# Table 5, row (MI x SI), EfficientNet-B0.
_base_ = '../muse/efficientnet-b0_cifar100_mi_x_si.py'

model = dict(head=dict(ce_weight=0.0, kd_weight=0.0))
