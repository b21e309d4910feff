_base_ = './resnet56-resnet56_cifar100_kd.py'

# Cross-entropy and KD with weight 1, and MI x SI.
model = dict(
    losses=[
        dict(type='mmmuse.KDLoss', temperature=4),
        dict(type='mmmuse.MUSELoss', combine='multiplicative', critic=dict(num_locations='auto')),
    ]
)
