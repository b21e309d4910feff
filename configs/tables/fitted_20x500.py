# Does MUSE help a network that fits 10,000 images with the paper's schedule? The last row has the critics alone, on the finished plain network: MI and SI
# of a network that MUSE did not train (figures 2 and 3 of the paper).
title = (
    "A network that fits its training set: 20 classes with 500 images each, the paper's schedule"
)
references = ['plain', 'CE + KD']
caption = """
In the last row the backbone is that of the plain network and does not change; a new linear layer and the critics are trained on it.
"""

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
    _row('MI', 'mi_ce_kd'),
    dict(
        _row(
            'the frozen plain network',
            'mi_plus_si_alone',
            **{
                'model.student.backbone.frozen_stages': 4,
                'model.student.backbone.init_cfg.type': 'Pretrained',
                'model.student.backbone.init_cfg.checkpoint': '{after}',
                'model.student.backbone.init_cfg.prefix': 'backbone.',
            },
        ),
        after='plain',
    ),
]
