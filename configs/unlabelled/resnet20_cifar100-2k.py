# From scratch: a ResNet-20 on 2,000 labels.
_base_ = [
    '../_base_/models/classifier_cifar100.py',
    '../_base_/datasets/cifar100_2k_labels.py',
    '../_base_/default_runtime.py',
    '../_base_/schedules/cifar_2k_100e.py',
]

model = dict(backbone=dict(type='mmmuse.SmallResNetCIFAR', depth=20), head=dict(in_channels=64))

default_hooks = dict(
    checkpoint=dict(interval=50, max_keep_ckpts=1, save_best=None),
    channels_last=dict(type='mmmuse.ChannelsLastHook'),
    logger=dict(interval=31),
    information=dict(interval=31),
)
