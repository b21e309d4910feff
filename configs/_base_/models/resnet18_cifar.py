_base_ = 'classifier_cifar100.py'

model = dict(
    backbone=dict(type='ResNet_CIFAR', depth=18, num_stages=4, out_indices=(3,), style='pytorch'),
    head=dict(in_channels=512),
)
