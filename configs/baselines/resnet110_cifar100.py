_base_ = [
    '../_base_/models/resnet110_cifar100.py',
    '../_base_/datasets/cifar100_64.py',
    '../_base_/schedules/cifar_240e.py',
    '../_base_/default_runtime.py',
]
