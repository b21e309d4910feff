# A ResNet-18 of 24-192 channels on all images of 20 classes, 500 of each as in the paper: 60 epochs of the paper's schedule (156
# steps of 64 each).
_base_ = 'fitted-resnet18_cifar100-20x50.py'

model = dict(backbone=dict(stem_channels=24, base_channels=24), head=dict(in_channels=192))
train_dataloader = dict(dataset=dict(images_per_class=500))
param_scheduler = dict(
    _delete_=True, type='MultiStepLR', by_epoch=True, milestones=[22, 39, 54], gamma=0.1
)
train_cfg = dict(max_epochs=60, val_interval=20)
default_hooks = dict(
    checkpoint=dict(interval=60), logger=dict(interval=156), information=dict(interval=156)
)
