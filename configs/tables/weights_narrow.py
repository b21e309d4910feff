# MUSE's two weights on the narrow ResNet-18 of configs/narrow: what they do to a small network in a short run, not
# the paper's recipe. "critics 0.03, features 0.03" is one weight for both, as in earlier versions.
title = 'Weights of critics and features, narrow ResNet-18'

_muse = 'configs/narrow/narrow-resnet18_cifar100_mi_x_si.py'
_weights = ((0.03, 0.03), (1.0, 0.03), (1.0, 0.1), (1.0, 0.3), (1.0, 1.0))

rows = [
    dict(name='plain', config='configs/narrow/narrow-resnet18_cifar100.py'),
    dict(name='CE + KD', config=_muse, options={'model.head': 'ce_kd'}),
    *(
        dict(
            name=f'MI x SI, critics {critics}, features {features}',
            config=_muse,
            options={
                'model.head.discrepancy.critic_weight': critics,
                'model.head.discrepancy.loss_weight': features,
            },
        )
        for critics, features in _weights
    ),
]
