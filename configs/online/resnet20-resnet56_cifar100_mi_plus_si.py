_base_ = './resnet20-resnet56_cifar100_kd.py'

# Cross-entropy and KD with weight 1, and MI + SI.
model = dict(
    losses=[
        dict(type='mmmuse.KDLoss', temperature=4),
        dict(type='mmmuse.MUSELoss', combine='additive', critic=dict(num_locations='auto')),
    ]
)
