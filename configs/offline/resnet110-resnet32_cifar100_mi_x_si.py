_base_ = './resnet110-resnet32_cifar100_kd.py'

# Cross-entropy and KD with weight 1, and MI x SI.
model = dict(
    student=dict(head=dict(loss=dict(loss_weight=1.0))),
    losses=[
        dict(type='mmmuse.KDLoss', temperature=4),
        dict(type='mmmuse.MUSELoss', combine='multiplicative', critic=dict(num_locations='auto')),
    ],
)
