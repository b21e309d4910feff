_base_ = 'resnet18_cifar100.py'

model = dict(backbone=dict(depth=34))
