# What might hide an effect of MUSE, each tried by itself: the rows of fitted_weights.py with features at 0.1.
_base_ = 'fitted_weights.py'

title = 'A network that fits its training set: what might hide an effect of MUSE'
references = ['MI x SI, features 0.1']

_muse = 'configs/narrow/fitted-resnet18_cifar100-20x50_mi_x_si.py'
_loss = 'model.head.discrepancy'
_rate = 'optim_wrapper.paramwise_cfg.custom_keys.critics.lr_mult'
_multiplied = {'param_scheduler.type': 'mmmuse.PerGroupOneCycleLR'}
_options = {
    'model.head': 'mi_x_si',
    f'{_loss}.critic.hidden_channels': 128,
    f'{_loss}.loss_weight': 0.1,
}
_tried = (
    ('', {}),
    (', critics at twice the rate', {**_multiplied, _rate: 2.0}),
    (', critics at a tenth of the rate', {**_multiplied, _rate: 0.1}),
    (', critics 512 wide', {f'{_loss}.critic.hidden_channels': 512}),
    (', dot', {f'{_loss}.critic.architecture': 'dot'}),
    (
        ', dot, critics at a tenth of the rate',
        {f'{_loss}.critic.architecture': 'dot', **_multiplied, _rate: 0.1},
    ),
    (', all negatives', {f'{_loss}.critic.negatives': 'all'}),
    (', features normalised', {f'{_loss}.critic.normalize': True}),
    (', weight warmed up', {f'{_loss}.warmup': 0.5}),
    (', own average detached', {f'{_loss}.detach_global': ['si']}),
    (', last feature detached', {f'{_loss}.detach_global': ['mi']}),
    (', exits without KD', {'model.head.kd_weight': 0.0}),
)

rows = [
    dict(name=f'MI x SI, features 0.1{name}', config=_muse, options={**_options, **options})
    for name, options in _tried
]
