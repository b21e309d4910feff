# KD with and without MI x SI, from a ResNet-56 and between two ResNet-20s: the first 10,000 training images of CIFAR-100, 20 epochs, bfloat16. The teacher has
# the same images and is trained once, for 40 epochs.
title = 'KD and MI x SI between two networks, 20 epochs'
references = ['alone', 'KD', 'online, KD']

options = {
    'train_dataloader.dataset.indices': 10000,
    'train_dataloader.drop_last': True,
    'train_cfg.max_epochs': 20,
    'train_cfg.val_interval': 20,
    'param_scheduler.milestones': [12, 16, 18],
    'optim_wrapper.type': 'mmmuse.BFloat16OptimWrapper',
    'default_hooks.channels_last.type': 'mmmuse.ChannelsLastHook',
    'default_hooks.checkpoint.save_best': None,
    'default_hooks.checkpoint.max_keep_ckpts': 1,
    'default_hooks.logger.interval': 156,
    'default_hooks.information.interval': 156,
}
_teacher = {'model.teacher_checkpoint': '{after}'}
_critic = {'model.losses.1.critic.hidden_channels': 64}
_equal = {'model.losses.0.loss_weight': 1.0, 'model.student.head.loss.loss_weight': 1.0}


def _taught(name, method, options):
    return dict(
        name=name,
        config=f'configs/offline/resnet56-resnet20_cifar100_{method}.py',
        after='the teacher',
        options={**_teacher, **options},
    )


def _online(name, method, options):
    config = f'configs/online/resnet20-resnet20_cifar100_{method}.py'
    return dict(name=name, config=config, metric='average/accuracy/top1', options=options)


rows = [
    dict(
        name='the teacher',
        config='configs/baselines/resnet56_cifar100.py',
        seed=0,
        options={
            'train_cfg.max_epochs': 40,
            'train_cfg.val_interval': 40,
            'param_scheduler.milestones': [24, 32, 36],
        },
    ),
    dict(name='alone', config='configs/baselines/resnet20_cifar100.py'),
    _taught('KD', 'kd', _equal),
    _taught('KD and MI x SI', 'mi_x_si', _critic),
    _online('online, KD', 'kd', {}),
    _online('online, KD and MI x SI', 'mi_x_si', _critic),
]
