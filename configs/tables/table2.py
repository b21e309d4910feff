# Table 2, and PS-KD, which the paper does not have; each rival also with MI x SI. A row is a config, and
# the named variant of mmmuse/heads/variants.py that replaces its head.
title = 'Table 2: self-distillation'
caption = "FRSKD's figure is the one that its own paper reports."

_methods = {
    'baseline': ('baselines/{}', None, '77.43 ± 0.36', '77.01 ± 0.06'),
    'CS-KD': ('rivals/{}_cs_kd', None, '78.01 ± 0.11', '78.25 ± 0.12'),
    'ONE': ('rivals/{}_one', None, '77.03 ± 0.21', '76.88 ± 0.29'),
    'DDGSD': ('rivals/{}_ddgsd', None, '77.88 ± 0.32', '78.04 ± 0.19'),
    'BYOT': ('byot/{}_byot', None, '77.86 ± 0.30', '78.15 ± 0.14'),
    'FRSKD': ('rivals/{}_frskd', None, '77.71 ± 0.14', ''),
    'PS-KD': ('rivals/{}_ps_kd', None, '', ''),
    'MI + SI': ('muse/{}_mi_plus_si', None, '78.75 ± 0.31', '78.45 ± 0.07'),
    'MI x SI': ('muse/{}_mi_x_si', None, '78.37 ± 0.34', '78.56 ± 0.11'),
    'CS-KD + MI x SI': ('rivals/{}_cs_kd', 'mi_x_si', '', ''),
    'ONE + MI x SI': ('rivals/{}_one', 'mi_x_si', '', ''),
    'DDGSD + MI x SI': ('rivals/{}_ddgsd', 'mi_x_si', '', ''),
    'FRSKD + MI x SI': ('rivals/{}_frskd', 'mi_x_si', '', ''),
    'PS-KD + MI x SI': ('rivals/{}_ps_kd', 'mi_x_si', '', ''),
}

rows = [
    dict(
        name=f'{name} {method}',
        config=f'configs/{path.format(network)}.py',
        options={'model.head': head} if head else {},
        paper=figures[i],
    )
    for i, (name, network) in enumerate(
        (('ResNet18', 'resnet18_cifar100'), ('DenseNet121', 'densenet121_cifar100'))
    )
    for method, (path, head, *figures) in _methods.items()
]
