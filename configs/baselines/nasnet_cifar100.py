_base_ = [
    '../_base_/models/classifier_cifar100.py',
    '../_base_/datasets/cifar100.py',
    '../_base_/schedules/cifar_200e.py',
    '../_base_/default_runtime.py',
]

# NASNet-A (4 @ 1056). spare_convs makes the counts the published ones; those weights are never used.
model = dict(
    backbone=dict(type='mmmuse.NASNet', num_cells=4, channels=44, spare_convs=True),
    head=dict(in_channels=1056),
)
