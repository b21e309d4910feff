_base_ = [
    '../_base_/models/classifier_cifar100.py',
    '../_base_/datasets/cifar100.py',
    '../_base_/schedules/cifar_200e.py',
    '../_base_/default_runtime.py',
]

# Features of 512 channels and one linear classifier, as the paper's 20.0 M parameters say.
model = dict(
    backbone=dict(type='VGG', depth=19, norm_cfg=dict(type='BN')), head=dict(in_channels=512)
)
