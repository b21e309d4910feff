_base_ = './resnet56-resnet56_cifar100_kd.py'

# Cross-entropy, KD and MI + SI, each with weight 1.
model = dict(
    losses=[
        dict(type='mmmuse.KDLoss', temperature=4),
        dict(
            type='mmmuse.MUSELoss',
            combine='additive',
            loss_weight=1.0,
            critic=dict(num_locations=64),
        ),
    ]
)
