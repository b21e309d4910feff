# MI and SI of a network that MUSE did not train (figures 2 and 3 of the paper): the critics of MI + SI are trained on the finished plain network of
# fitted_100x50.py. Its backbone does not change; a new linear layer is trained on it, whose accuracy says nothing.
title = 'The critics alone, on the finished plain network'

_config = 'configs/narrow/fitted-resnet18_cifar100-100x50'

rows = [
    dict(name='plain', config=f'{_config}.py'),
    dict(
        name='the frozen plain network',
        config=f'{_config}_mi_x_si.py',
        after='plain',
        options={
            'model.head': 'mi_plus_si_alone',
            'model.head.discrepancy.critic.hidden_channels': 128,
            'model.student.backbone.frozen_stages': 4,
            'model.student.backbone.init_cfg.type': 'Pretrained',
            'model.student.backbone.init_cfg.checkpoint': '{after}',
            'model.student.backbone.init_cfg.prefix': 'backbone.',
        },
    ),
]
