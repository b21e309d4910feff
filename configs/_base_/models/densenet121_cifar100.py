model = dict(
    type='ImageClassifier',
    backbone=dict(type='mmmuse.DenseNetCIFAR', arch='121'),
    neck=dict(type='GlobalAveragePooling'),
    head=dict(
        type='LinearClsHead',
        num_classes=100,
        in_channels=1024,
        loss=dict(type='CrossEntropyLoss', loss_weight=1.0),
    ),
)
