_base_ = [
    '../_base_/models/densenet121_cifar100.py',
    '../_base_/datasets/cifar100.py',
    '../_base_/schedules/cifar_200e.py',
    '../_base_/default_runtime.py',
]
