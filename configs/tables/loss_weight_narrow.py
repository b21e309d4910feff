# The weight of MUSE, on the network and the schedule of table6_narrow.py.
_base_ = 'table6_narrow.py'

title = 'The weight of MUSE, narrow'
_on = {
    'model.student.backbone.stem_channels': 8,
    'model.student.backbone.base_channels': 8,
    'model.student.head.in_channels': 64,
    'model.head.discrepancy.critic.hidden_channels': 64,
    'model.head.discrepancy.critic.num_locations': 16,
}
rows = [
    dict(
        name=f'{name} weight {weight}',
        config=f'configs/ablation/resnet18_cifar100_{variant}_ce.py',
        options={**_on, 'model.head.discrepancy.loss_weight': weight},
    )
    for weight in (1.0, 0.3, 0.1, 0.03, 0.01)
    for name, variant in (('MI+SI', 'mi_plus_si'), ('MI×SI', 'mi_x_si'))
]
