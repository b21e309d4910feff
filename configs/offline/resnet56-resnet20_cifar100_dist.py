_base_ = './resnet56-resnet20_cifar100_kd.py'

# DIST: the relations between and within classes, with the paper's weights and temperature on CIFAR-100.
model = dict(
    student=dict(head=dict(loss=dict(loss_weight=1.0))),
    losses=[
        dict(type='mmmuse.DISTLoss', inter_weight=2.0, intra_weight=2.0, temperature=4),
    ],
)
