# A ResNet-18 of 32-256 channels that fits its training set: 20 classes of CIFAR-100 with 50 images each, 50 epochs of one
# cycle (15 steps of 64 each) in bfloat16, tested on the 2,000 test images of these classes.
_base_ = '../baselines/resnet18_cifar100.py'

model = dict(
    backbone=dict(stem_channels=32, base_channels=32),
    head=dict(in_channels=256, num_classes=20, cal_acc=True),
)
data_preprocessor = dict(num_classes=20)
train_dataloader = dict(
    batch_size=64, drop_last=True, dataset=dict(num_classes=20, images_per_class=50)
)
val_dataloader = dict(dataset=dict(num_classes=20))
test_dataloader = val_dataloader
optim_wrapper = dict(type='mmmuse.BFloat16OptimWrapper')
param_scheduler = dict(
    _delete_=True, type='OneCycleLR', eta_max=0.1, total_steps=750, by_epoch=False
)
train_cfg = dict(max_epochs=50, val_interval=50)
default_hooks = dict(
    channels_last=dict(type='mmmuse.ChannelsLastHook'),
    checkpoint=dict(interval=50, max_keep_ckpts=1, save_best=None),
    logger=dict(interval=15),
    information=dict(interval=15),
)
# The accuracy on augmented training images, of a whole epoch.
log_processor = dict(
    custom_cfg=[dict(data_src='accuracy_top-1', method_name='mean', window_size='epoch')]
)
