# ResNet-18 on CIFAR-100 with MUSE's two weights, for a GPU: paper's recipe, or --epochs for a scaled schedule.
title = 'ResNet-18 on CIFAR-100: MUSE and the weight of its features'

options = {'default_hooks.channels_last.type': 'mmmuse.ChannelsLastHook'}

rows = [
    dict(name='baseline', config='configs/baselines/resnet18_cifar100.py', paper='77.43 ± 0.36'),
    dict(
        name='CE + KD',
        config='configs/muse/resnet18_cifar100_mi_x_si.py',
        options={'model.head': 'ce_kd'},
        paper='77.98 ± 0.21',
    ),
    dict(
        name='MI + SI',
        config='configs/muse/resnet18_cifar100_mi_plus_si.py',
        paper='78.75 ± 0.31',
    ),
    *(
        dict(
            name='MI x SI' if weight == 0.03 else f'MI x SI, features {weight}',
            config='configs/muse/resnet18_cifar100_mi_x_si.py',
            options={'model.head.discrepancy.loss_weight': weight},
            **({'paper': '78.37 ± 0.34'} if weight == 0.03 else {}),
        )
        for weight in (0.03, 0.1, 0.3, 1.0)
    ),
]
