# Table 6 on two cores: a ResNet-18 of 8-16-32-64 channels, 10,000 training and 5,000 test images of
# CIFAR-100, 10 epochs. Not the paper's recipe: which discrepancy helps a small network in a short run.
title = 'Table 6, narrow: feature discrepancies'

options = {
    'train_dataloader.dataset.indices': 10000,
    'val_dataloader.dataset.indices': 5000,
    'train_cfg.max_epochs': 10,
    'param_scheduler.milestones': [4, 7, 9],
    'default_hooks.channels_last.type': 'mmmuse.ChannelsLastHook',
    'default_hooks.checkpoint.max_keep_ckpts': 1,
    'default_hooks.checkpoint.save_best': None,
    'default_hooks.logger.interval': 39,
    'default_hooks.information.interval': 39,
}
_student = {
    'model.student.backbone.stem_channels': 8,
    'model.student.backbone.base_channels': 8,
    'model.student.head.in_channels': 64,
}
_critic = {
    'model.head.discrepancy.critic.hidden_channels': 64,
    'model.head.discrepancy.critic.num_locations': 16,
}

rows = [
    dict(
        name='Baseline',
        config='configs/baselines/resnet18_cifar100.py',
        paper='77.43 ± 0.36',
        options={
            'model.backbone.stem_channels': 8,
            'model.backbone.base_channels': 8,
            'model.head.in_channels': 64,
        },
    ),
    dict(
        name='CE alone',
        config='configs/ablation/resnet18_cifar100_ce.py',
        paper='77.66 ± 0.27',
        options=_student,
    ),
    dict(
        name='L2',
        config='configs/ablation/resnet18_cifar100_l2_ce.py',
        paper='77.65 ± 0.25',
        options=_student,
    ),
    dict(
        name='MMD',
        config='configs/ablation/resnet18_cifar100_mmd_ce.py',
        paper='76.22 ± 0.19',
        options=_student,
    ),
    dict(
        name='adversarial',
        config='configs/ablation/resnet18_cifar100_adversarial_ce.py',
        paper='78.18 ± 0.18',
        options=_student,
    ),
    dict(
        name='VID',
        config='configs/ablation/resnet18_cifar100_vid_ce.py',
        paper='76.97 ± 0.54',
        options=_student,
    ),
    dict(
        name='MI+SI',
        config='configs/ablation/resnet18_cifar100_mi_plus_si_ce.py',
        paper='78.63 ± 0.26',
        options={**_student, **_critic},
    ),
    dict(
        name='MI×SI',
        config='configs/ablation/resnet18_cifar100_mi_x_si_ce.py',
        paper='78.35 ± 0.24',
        options={**_student, **_critic},
    ),
]
