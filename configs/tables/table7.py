# Table 7: offline (b) and online (a) distillation. Its configs come with the teachers: until they are
# there, the command names the first that is missing and runs nothing. What the scan of MI x SI online
# does not show is left empty.
title = 'Table 7: traditional distillation'
caption = (
    'Online pairs of two networks give both accuracies in the paper, two of one kind their average.'
)

_offline = {
    'KD': ('kd', '70.66', '73.08'),
    'FitNets': ('fitnet', '69.21', '71.06'),
    'VID': ('vid', '70.38', '72.61'),
    'CRD': ('crd', '71.16', '73.48'),
    'MI + SI': ('mi_plus_si', '71.30 ± 0.09', '73.34 ± 0.17'),
    'MI x SI': ('mi_x_si', '71.27 ± 0.22', '73.48 ± 0.29'),
}
_online = {
    'KD': ('kd', '70.51', '75.24', '70.11 / 74.69', '70.50 / 75.61'),
    'DML': ('dml', '70.84', '75.63', '71.13 / 74.97', '75.89 / 78.16'),
    'KDCL': ('kdcl', '70.23', '75.28', '70.36 / 74.83', '74.79 / 77.53'),
    'AFD': ('afd', '70.63', '75.40', '71.22 / 75.12', '75.39 / 77.13'),
    'MI + SI': (
        'mi_plus_si',
        '71.02 ± 0.14',
        '76.02 ± 0.13',
        '71.34 ± 0.16 / 75.55 ± 0.08',
        '76.65 ± 0.19 / 78.51 ± 0.17',
    ),
    'MI x SI': ('mi_x_si', '', '', '71.05 ± 0.11 / 75.17 ± 0.10', ''),
}

rows = [
    *(
        dict(name=f'{network} alone', config=f'configs/baselines/{network}_cifar100.py', paper=top1)
        for network, top1 in (
            ('resnet20', '69.06'),
            ('resnet32', '71.14'),
            ('resnet56', '72.34'),
            ('resnet110', '74.31'),
            ('shufflenet-v1', '70.50'),
            ('wrn-40-2', '75.61'),
        )
    ),
    *(
        dict(
            name=f'offline {pair} {name}',
            config=f'configs/offline/{pair}_cifar100_{method}.py',
            paper=figures[i],
        )
        for i, pair in enumerate(('resnet56-resnet20', 'resnet110-resnet32'))
        for name, (method, *figures) in _offline.items()
    ),
    *(
        dict(
            name=f'online {pair} {name}',
            config=f'configs/online/{pair}_cifar100_{method}.py',
            paper=figures[i],
        )
        for i, pair in enumerate(
            (
                'resnet20-resnet20',
                'resnet56-resnet56',
                'resnet20-resnet56',
                'shufflenet-v1-wrn-40-2',
            )
        )
        for name, (method, *figures) in _online.items()
    ),
]
