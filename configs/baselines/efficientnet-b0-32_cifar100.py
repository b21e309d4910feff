_base_ = [
    '../_base_/models/efficientnet-b0_cifar.py',
    '../_base_/datasets/cifar100.py',
    '../_base_/schedules/cifar_200e.py',
    '../_base_/default_runtime.py',
]

# At CIFAR's own 32 pixels: the stem's stride is 1.
model = dict(backbone=dict(type='mmmuse.EfficientNetCIFAR'))
