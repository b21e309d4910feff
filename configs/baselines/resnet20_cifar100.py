_base_ = [
    '../_base_/models/classifier_cifar100.py',
    '../_base_/datasets/cifar100_64.py',
    '../_base_/schedules/cifar_240e.py',
    '../_base_/default_runtime.py',
]

model = dict(backbone=dict(type='mmmuse.SmallResNetCIFAR', depth=20), head=dict(in_channels=64))
