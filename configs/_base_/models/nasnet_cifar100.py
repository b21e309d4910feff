# NASNet-A (4 @ 1056). spare_convs makes the counts the published ones; those weights are never used.
model = dict(
    type='ImageClassifier',
    backbone=dict(type='mmmuse.NASNet', num_cells=4, channels=44, spare_convs=True),
    neck=dict(type='GlobalAveragePooling'),
    head=dict(
        type='LinearClsHead',
        num_classes=100,
        in_channels=1056,
        loss=dict(type='CrossEntropyLoss', loss_weight=1.0),
    ),
)
