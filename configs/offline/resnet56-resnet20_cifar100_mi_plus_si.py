_base_ = './resnet56-resnet20_cifar100_kd.py'

# Cross-entropy and KD with weight 1, and MI + SI.
model = dict(
    student=dict(head=dict(loss=dict(loss_weight=1.0))),
    losses=[
        dict(type='mmmuse.KDLoss', temperature=4),
        dict(type='mmmuse.MUSELoss', combine='additive', critic=dict(num_locations='auto')),
    ],
)
