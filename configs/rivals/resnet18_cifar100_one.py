_base_ = '../muse/resnet18_cifar100_mi_x_si.py'

# ONE: two more branches from the last stage on, and their gated mix.
model = dict(
    type='mmmuse.ONEDistiller',
    branch=dict(after='backbone.layer3', modules=['backbone.layer4', 'neck']),
    head=None,
    neck=None,
)
