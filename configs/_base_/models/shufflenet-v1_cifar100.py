model = dict(
    type='ImageClassifier',
    backbone=dict(type='mmmuse.ShuffleNetV1CIFAR', groups=3),
    neck=dict(type='GlobalAveragePooling'),
    head=dict(
        type='LinearClsHead',
        num_classes=100,
        in_channels=960,
        loss=dict(type='CrossEntropyLoss', loss_weight=1.0),
    ),
)
