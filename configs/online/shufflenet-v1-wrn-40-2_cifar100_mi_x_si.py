_base_ = './shufflenet-v1-wrn-40-2_cifar100_kd.py'

# Cross-entropy, KD and MI x SI, each with weight 1.
model = dict(
    losses=[
        dict(type='mmmuse.KDLoss', temperature=4),
        dict(
            type='mmmuse.MUSELoss',
            combine='multiplicative',
            loss_weight=1.0,
            critic=dict(num_locations=64),
        ),
    ]
)
