# The same with MI x SI between the student's modules and the teacher's last feature.
_base_ = 'resnet20_cifar100-20k_features.py'

model = dict(
    taps=dict(modules=['backbone.relu', 'backbone.layer1', 'backbone.layer2']),
    losses=[
        dict(type='mmmuse.MapAlignmentLoss'),
        dict(type='mmmuse.VectorAlignmentLoss'),
        dict(type='mmmuse.MUSELoss', critic=dict(hidden_channels=64, num_locations='auto')),
    ],
)
