# Table 7: offline (b) and online (a) distillation. What the scan of MI x SI online does not show is left
# empty. Offline rows need their teachers where their configs say, work_dirs/resnet56_cifar100/epoch_240.pth
# and the like: trained with configs/baselines, or RepDistiller's, by tools/convert_repdistiller.py.
title = 'Table 7: traditional distillation'
caption = (
    'Online pairs of two networks give both accuracies in the paper, two of one kind their average. '
    "AT's figures are those of RepDistiller's published table, from which the paper quotes the other "
    'offline rivals; DKD and ReviewKD are newer and not in it.'
)

_offline = {
    'KD': ('kd', '70.66', '73.08'),
    'FitNets': ('fitnet', '69.21', '71.06'),
    'AT': ('at', '70.55', '72.31'),
    'VID': ('vid', '70.38', '72.61'),
    'CRD': ('crd', '71.16', '73.48'),
    'DKD': ('dkd', '', ''),
    'ReviewKD': ('reviewkd', '', ''),
    'MI + SI': ('mi_plus_si', '71.30 ± 0.09', '73.34 ± 0.17'),
    'MI x SI': ('mi_x_si', '71.27 ± 0.22', '73.48 ± 0.29'),
}
# Of two networks of one kind the average; of two kinds each one's.
_online = {
    'KD': (
        'kd',
        '70.51',
        '75.24',
        dict(a='70.11', b='74.69'),
        dict(a='70.50', b='75.61'),
    ),
    'DML': (
        'dml',
        '70.84',
        '75.63',
        dict(a='71.13', b='74.97'),
        dict(a='75.89', b='78.16'),
    ),
    'KDCL': (
        'kdcl',
        '70.23',
        '75.28',
        dict(a='70.36', b='74.83'),
        dict(a='74.79', b='77.53'),
    ),
    'AFD': (
        'afd',
        '70.63',
        '75.40',
        dict(a='71.22', b='75.12'),
        dict(a='75.39', b='77.13'),
    ),
    'MI + SI': (
        'mi_plus_si',
        '71.02 ± 0.14',
        '76.02 ± 0.13',
        dict(a='71.34 ± 0.16', b='75.55 ± 0.08'),
        dict(a='76.65 ± 0.19', b='78.51 ± 0.17'),
    ),
    'MI x SI': ('mi_x_si', '', '', dict(a='71.05 ± 0.11', b='75.17 ± 0.10'), {}),
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
            metric='average/accuracy/top1',
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
