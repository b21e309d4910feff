# Table 5. CE and KD are those of the exits. A row is a config, and the named variant of
# mmmuse/heads/variants.py that replaces its head.
title = 'Table 5: different terms in MUSE'

_muse = 'muse/{}_mi_x_si'
_terms = {
    'baseline': ('baselines/{}', None, '77.43 ± 0.36', '77.61 ± 0.13'),
    'CE': (_muse, 'ce', '77.66 ± 0.27', '77.94 ± 0.11'),
    'CE + KD': (_muse, 'ce_kd', '77.98 ± 0.21', '78.06 ± 0.18'),
    'L2': (_muse, 'l2', '77.18 ± 0.23', '77.43 ± 0.18'),
    'L2 + CE': (_muse, 'l2_ce', '77.65 ± 0.25', '77.51 ± 0.16'),
    'L2 + CE + KD': (_muse, 'byot', '77.86 ± 0.30', '78.00 ± 0.14'),
    'MI': (_muse, 'mi', '77.95 ± 0.31', '77.67 ± 0.26'),
    'SI': (_muse, 'si', '77.81 ± 0.44', '77.69 ± 0.25'),
    'MI + CE': (_muse, 'mi_ce', '78.07 ± 0.33', '78.07 ± 0.11'),
    'MI + CE + KD': (_muse, 'mi_ce_kd', '78.22 ± 0.21', '78.35 ± 0.13'),
    '(MI + SI)': (_muse, 'mi_plus_si_alone', '78.14 ± 0.25', '77.83 ± 0.19'),
    '(MI x SI)': (_muse, 'mi_x_si_alone', '78.06 ± 0.29', '77.91 ± 0.24'),
    '(MI + SI) + CE': (_muse, 'mi_plus_si_ce', '78.63 ± 0.26', '78.46 ± 0.17'),
    '(MI x SI) + CE': (_muse, 'mi_x_si_ce', '78.35 ± 0.24', '78.81 ± 0.12'),
    '(MI + SI) + CE + KD': ('muse/{}_mi_plus_si', None, '78.75 ± 0.31', '78.56 ± 0.14'),
    '(MI x SI) + CE + KD': ('muse/{}_mi_x_si', None, '78.37 ± 0.34', '78.89 ± 0.12'),
}

rows = [
    dict(
        name=f'{name} {terms}',
        config=f'configs/{path.format(network)}.py',
        options={'model.head': head} if head else {},
        paper=figures[i],
    )
    for i, (name, network) in enumerate(
        (('ResNet18', 'resnet18_cifar100'), ('EfficientNet-B0', 'efficientnet-b0_cifar100'))
    )
    for terms, (path, head, *figures) in _terms.items()
]
