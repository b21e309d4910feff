# The teacher: a ResNet-56 on training images 25,000 to 49,999, which no student sees. Images 20,000 to 24,999 are for its evaluation.
_base_ = [
    '../_base_/models/classifier_cifar100.py',
    '../_base_/datasets/cifar100_64.py',
    '../_base_/default_runtime.py',
    '../_base_/schedules/cifar_2k_100e.py',
]

model = dict(backbone=dict(type='mmmuse.SmallResNetCIFAR', depth=56), head=dict(in_channels=64))
train_dataloader = dict(drop_last=True, dataset=dict(start=25000))
val_dataloader = dict(dataset=dict(split='train', start=20000, indices=5000))
param_scheduler = dict(T_max=12)
train_cfg = dict(max_epochs=12, val_interval=4)
default_hooks = dict(
    checkpoint=dict(max_keep_ckpts=1, save_best=None),
    channels_last=dict(type='mmmuse.ChannelsLastHook'),
)
