# ResNet-18 on CIFAR-100 with MUSE's two weights, for a GPU: paper's recipe, or --epochs for a scaled schedule.
title = 'ResNet-18 on CIFAR-100: MUSE and the weight of its features'

options = {'default_hooks.channels_last.type': 'mmmuse.ChannelsLastHook'}

rows = [
    dict(name='baseline', config='configs/baselines/resnet18_cifar100.py', paper='77.43 ± 0.36'),
    dict(
        name='CE + KD',
        config='configs/muse/resnet18_cifar100_mi_x_si.py',
        options={'model.head': 'ce_kd'},
    ),
    dict(
        name='MI + SI',
        config='configs/muse/resnet18_cifar100_mi_plus_si.py',
        paper='78.87 ± 0.22',
    ),
    *(
        dict(
            name='MI x SI' if weight == 0.03 else f'MI x SI, features {weight}',
            config='configs/muse/resnet18_cifar100_mi_x_si.py',
            options={'model.head.discrepancy.loss_weight': weight},
        )
        for weight in (0.03, 0.1, 0.3, 1.0)
    ),
]
