_base_ = 'efficientnet-b0-32_cifar100_mi_x_si.py'

model = dict(head=dict(discrepancy=dict(combine='additive')))
