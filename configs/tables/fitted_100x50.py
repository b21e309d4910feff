# Does MUSE help a network that fits 50 images of each of the 100 classes, with the paper's schedule in 100 epochs? All test images. Features at 0.1 are a
# second weight set beforehand.
title = "100 classes with 50 images each, the paper's schedule"
references = ['plain', 'CE + KD']

_muse = 'configs/narrow/fitted-resnet18_cifar100-100x50_mi_x_si.py'
_critic = {'model.head.discrepancy.critic.hidden_channels': 128}

rows = [
    dict(name='plain', config='configs/narrow/fitted-resnet18_cifar100-100x50.py'),
    dict(name='CE + KD', config=_muse, options={'model.head': 'ce_kd'}),
    dict(name='MI + SI', config=_muse, options={'model.head': 'mi_plus_si', **_critic}),
    dict(name='MI x SI', config=_muse, options={'model.head': 'mi_x_si', **_critic}),
    dict(name='MI', config=_muse, options={'model.head': 'mi_ce_kd', **_critic}),
    dict(
        name='MI x SI, features 0.1',
        config=_muse,
        options={'model.head': 'mi_x_si', **_critic, 'model.head.discrepancy.loss_weight': 0.1},
    ),
]
