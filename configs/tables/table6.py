# Table 6. Every row but the baseline has the exits' CE, and none KD.
title = 'Table 6: feature discrepancies'

_discrepancies = {
    'baseline': ('baselines/{}', '77.43 ± 0.36', '77.61 ± 0.13'),
    'L2': ('ablation/{}_l2_ce', '77.65 ± 0.25', '77.51 ± 0.16'),
    'MMD': ('ablation/{}_mmd_ce', '76.22 ± 0.19', '77.03 ± 0.16'),
    'adversarial': ('ablation/{}_adversarial_ce', '78.18 ± 0.18', '78.25 ± 0.14'),
    'VID': ('ablation/{}_vid_ce', '76.97 ± 0.54', '77.37 ± 0.35'),
    'MI + SI': ('ablation/{}_mi_plus_si_ce', '78.63 ± 0.26', '78.46 ± 0.17'),
    'MI x SI': ('ablation/{}_mi_x_si_ce', '78.35 ± 0.24', '78.81 ± 0.12'),
}

rows = [
    dict(name=f'{name} {loss}', config=f'configs/{path.format(network)}.py', paper=figures[i])
    for i, (name, network) in enumerate(
        (('ResNet18', 'resnet18_cifar100'), ('EfficientNet-B0', 'efficientnet-b0_cifar100'))
    )
    for loss, (path, *figures) in _discrepancies.items()
]
