# Does MUSE help a network that is trained on 10,000 images with the paper's schedule? Features at 0.1 are a second weight set beforehand, not one that
# these runs chose.
title = "20 classes with 500 images each, the paper's schedule"
references = ['plain', 'CE + KD']

_muse = 'configs/narrow/fitted-resnet18_cifar100-20x500_mi_x_si.py'
_critic = {'model.head.discrepancy.critic.hidden_channels': 128}


def _row(name, head, **options):
    return dict(name=name, config=_muse, options={'model.head': head, **_critic, **options})


rows = [
    dict(name='plain', config='configs/narrow/fitted-resnet18_cifar100-20x500.py'),
    dict(name='CE + KD', config=_muse, options={'model.head': 'ce_kd'}),
    _row('MI + SI', 'mi_plus_si'),
    _row('MI x SI', 'mi_x_si'),
    _row('MI x SI, features 0.1', 'mi_x_si', **{'model.head.discrepancy.loss_weight': 0.1}),
]
