# Table 6. Every row but the baseline has the exits' CE, and none KD. A row is a config, and the named
# variant of mmmuse/heads/variants.py that replaces its head.
title = 'Table 6: feature discrepancies'

_muse = 'muse/{}_mi_x_si'
_discrepancies = {
    'baseline': ('baselines/{}', None, '77.43 ± 0.36', '77.61 ± 0.13'),
    'L2': (_muse, 'l2_ce', '77.65 ± 0.25', '77.51 ± 0.16'),
    'MMD': (_muse, 'mmd_ce', '76.22 ± 0.19', '77.03 ± 0.16'),
    'adversarial': (_muse, 'adversarial_ce', '78.18 ± 0.18', '78.25 ± 0.14'),
    'VID': (_muse, 'vid_ce', '76.97 ± 0.54', '77.37 ± 0.35'),
    'MI + SI': (_muse, 'mi_plus_si_ce', '78.63 ± 0.26', '78.46 ± 0.17'),
    'MI x SI': (_muse, 'mi_x_si_ce', '78.35 ± 0.24', '78.81 ± 0.12'),
}

rows = [
    dict(
        name=f'{name} {loss}',
        config=f'configs/{path.format(network)}.py',
        options={'model.head': head} if head else {},
        paper=figures[i],
    )
    for i, (name, network) in enumerate(
        (('ResNet18', 'resnet18_cifar100'), ('EfficientNet-B0', 'efficientnet-b0_cifar100'))
    )
    for loss, (path, head, *figures) in _discrepancies.items()
]
