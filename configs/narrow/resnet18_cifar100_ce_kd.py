_base_ = 'resnet18_cifar100_mi_x_si.py'

model = dict(head=dict(discrepancy=None))
