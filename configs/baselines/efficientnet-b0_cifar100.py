_base_ = [
    '../_base_/models/efficientnet-b0_cifar.py',
    '../_base_/datasets/cifar100.py',
    '../_base_/schedules/cifar_200e.py',
    '../_base_/default_runtime.py',
]

# At 224, the network's own size; 454 M "FLOPs" are the paper's only reading.
data_preprocessor = dict(resize=224)
