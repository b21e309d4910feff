_base_ = [
    '../_base_/models/classifier_cifar100.py',
    '../_base_/datasets/cifar100.py',
    '../_base_/schedules/cifar_200e.py',
    '../_base_/default_runtime.py',
]

model = dict(backbone=dict(type='mmmuse.DenseNetCIFAR', arch='121'), head=dict(in_channels=1024))
