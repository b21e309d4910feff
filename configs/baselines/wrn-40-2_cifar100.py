_base_ = [
    '../_base_/models/wrn-40-2_cifar100.py',
    '../_base_/datasets/cifar100_64.py',
    '../_base_/schedules/cifar_240e.py',
    '../_base_/default_runtime.py',
]
