# Table 1. The paper's figures are means of three runs; its spreads are not legible throughout.
title = 'Table 1: image classification'

_columns = ('exit1', 'exit2', 'exit3', 'top1')
_networks = {
    'vgg19_cifar100': (
        '68.57',
        '56.92 65.72 68.55 69.79',
        '60.10 68.06 68.96 71.07',
        '57.21 66.14 69.26 71.24',
    ),
    'resnet18_cifar100': (
        '77.43',
        '67.17 73.27 77.14 77.86',
        '67.14 74.16 77.96 78.75',
        '68.12 73.98 77.45 78.37',
    ),
    'resnet34_cifar100': (
        '77.56',
        '65.77 75.15 78.11 78.96',
        '68.58 75.95 79.77 80.11',
        '68.47 74.93 78.91 79.39',
    ),
    'resnet50_cifar100': (
        '77.80',
        '68.86 77.71 80.04 80.56',
        '71.24 77.77 81.25 81.44',
        '69.82 78.04 80.26 80.63',
    ),
    'resnet101_cifar100': (
        '77.97',
        '71.97 75.61 78.92 79.06',
        '72.00 78.65 81.53 81.72',
        '72.15 77.06 80.74 80.89',
    ),
    'resnet152_cifar100': (
        '78.85',
        '67.72 77.82 79.91 80.73',
        '70.46 79.53 81.83 82.09',
        '70.92 78.38 81.77 81.69',
    ),
    'nasnet_cifar100': (
        '75.64',
        '66.85 73.73 75.01 75.85',
        '67.45 74.17 76.81 77.11',
        '66.50 74.43 76.41 76.87',
    ),
    'efficientnet-b0_cifar100': (
        '77.61',
        '70.21 77.28 77.93 78.00',
        '70.96 78.15 78.40 78.56',
        '70.83 78.40 78.44 78.89',
    ),
    'resnet18_tinyimagenet': (
        '64.68',
        '42.06 52.05 62.31 65.60',
        '42.34 53.02 63.14 66.72',
        '42.54 52.49 62.98 67.31',
    ),
    'resnet34_tinyimagenet': (
        '66.72',
        '44.02 56.68 66.67 68.44',
        '45.71 58.39 67.48 69.41',
        '45.32 58.27 67.59 69.13',
    ),
    'efficientnet-b0_tinyimagenet': (
        '64.55',
        '53.02 62.05 64.91 65.50',
        '53.06 64.77 65.30 65.59',
        '55.45 62.51 66.33 66.41',
    ),
    'resnet18_imagenet': (
        '69.64',
        '41.26 51.94 62.29 69.84',
        '41.51 52.36 63.45 70.35',
        '41.24 51.99 63.71 70.57',
    ),
}

rows = [
    dict(
        name=f'{network} {method}',
        config=f'configs/{config.format(network)}.py',
        paper=dict(zip(_columns[-len(figures.split()) :], figures.split(), strict=True)),
    )
    for network, of_network in _networks.items()
    for (method, config), figures in zip(
        (
            ('baseline', 'baselines/{}'),
            ('BYOT', 'byot/{}_byot'),
            ('MI + SI', 'muse/{}_mi_plus_si'),
            ('MI x SI', 'muse/{}_mi_x_si'),
        ),
        of_network,
        strict=True,
    )
]
