# Without labels: a ResNet-20 learns the features of the ResNet-56 on training images 0 to 19,999, two views of each.
_base_ = ['../_base_/datasets/cifar100.py', '../_base_/unlabelled_runtime.py']

model = dict(
    type='mmmuse.FeatureDistiller',
    student='{{ fileDirname }}/resnet20_cifar100-2k.py',
    teacher='{{ fileDirname }}/resnet56_cifar100-25k.py',
    teacher_checkpoint='work_dirs/resnet56_cifar100-25k/epoch_12.pth',
)
data_preprocessor = dict(num_views=2)
train_dataloader = dict(drop_last=True, dataset=dict(indices=20000))

# Images 20,000 to 24,999 are held out: the loss, which needs no labels, and the accuracy of nearest neighbours, which does.
val_dataloader = dict(dataset=dict(split='train', start=20000, indices=5000))
val_evaluator = [
    dict(type='mmmuse.FeatureLossMetric'),
    dict(type='mmmuse.NearestNeighbourAccuracy'),
]
test_dataloader = val_dataloader
test_evaluator = val_evaluator
val_cfg = dict()
test_cfg = dict()

optim_wrapper = dict(optimizer=dict(lr=2e-3))
param_scheduler = [
    dict(type='LinearLR', start_factor=0.01, by_epoch=True, end=1, convert_to_iter_based=True),
    dict(
        type='CosineAnnealingLR',
        by_epoch=True,
        begin=1,
        T_max=5,
        end=6,
        convert_to_iter_based=True,
    ),
]
train_cfg = dict(max_epochs=6, val_interval=3)
default_hooks = dict(
    checkpoint=dict(max_keep_ckpts=1),
    channels_last=dict(type='mmmuse.ChannelsLastHook'),
    logger=dict(interval=39),
    information=dict(interval=39),
)
