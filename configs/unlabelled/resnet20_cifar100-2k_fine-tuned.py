# Fine-tuning of the backbone of resnet20_cifar100-20k_features.py.
_base_ = 'resnet20_cifar100-2k.py'

model = dict(
    backbone=dict(
        init_cfg=dict(
            type='Pretrained',
            checkpoint='work_dirs/resnet20_cifar100-20k_features/epoch_6.pth',
            prefix='backbone.',
        )
    )
)
