# Does MUSE help a network that fits its training set? configs/narrow/fitted-*, on two CPU cores; tested on the test set. The weight of the features is 0.03
# where no row says another. docs/results/fitted.md says how to choose it without the test set.
title = 'A network that fits its training set: 20 classes with 50 images each'
references = ['plain', 'CE + KD']

_muse = 'configs/narrow/fitted-resnet18_cifar100-20x50_mi_x_si.py'
_critic = {'model.head.discrepancy.critic.hidden_channels': 128}


def _row(name, head, **options):
    return dict(name=name, config=_muse, options={'model.head': head, **options})


rows = [
    dict(name='plain', config='configs/narrow/fitted-resnet18_cifar100-20x50.py'),
    _row('CE + KD', 'ce_kd'),
    _row('BYOT', 'byot'),
    _row('VID', 'vid_ce', **{'model.head.kd_weight': 0.1}),
    *(
        _row(name, head, **_critic)
        for name, head in (
            ('MI', 'mi_ce_kd'),
            ('MI + SI', 'mi_plus_si'),
            ('MI x SI', 'mi_x_si'),
            ('MI x SI without exits', 'mi_x_si_alone'),
        )
    ),
    _row('SI', 'mi_x_si', **_critic, **{'model.head.discrepancy.combine': 'si'}),
    *(
        _row(
            f'MI x SI, features {weight}',
            'mi_x_si',
            **_critic,
            **{'model.head.discrepancy.loss_weight': weight},
        )
        for weight in (0.1, 0.3, 1.0)
    ),
]
