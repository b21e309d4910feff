# A ResNet-18 of 16-128 channels on 5,000 + 5,000 images of CIFAR-100, one cycle of 40 epochs (39 steps of 128 each).
_base_ = '../baselines/resnet18_cifar100.py'

model = dict(
    backbone=dict(stem_channels=16, base_channels=16),
    head=dict(in_channels=128),
)
train_dataloader = dict(drop_last=True, dataset=dict(indices=5000))
val_dataloader = dict(dataset=dict(indices=5000))
test_dataloader = val_dataloader
param_scheduler = dict(
    _delete_=True, type='OneCycleLR', eta_max=0.1, total_steps=1560, by_epoch=False
)
train_cfg = dict(max_epochs=40, val_interval=5)
default_hooks = dict(
    checkpoint=dict(interval=40, max_keep_ckpts=1, save_best=None),
    logger=dict(interval=39),
    information=dict(interval=39),
)
