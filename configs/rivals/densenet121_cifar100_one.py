_base_ = '../muse/densenet121_cifar100_mi_x_si.py'

# ONE: two more branches from the last stage on, and their gated mix.
model = dict(
    type='mmmuse.ONEDistiller',
    branch=dict(
        after='backbone.transitions.2',
        modules=['backbone.stages.3', 'backbone.transitions.3', 'neck'],
    ),
    head=None,
    neck=None,
)
