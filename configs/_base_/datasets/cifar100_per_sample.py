# CIFAR-100 through mmpretrain's per-sample pipeline; take it in place of cifar100.py.
data_preprocessor = dict(
    num_classes=100,
    mean=[129.3105, 124.1085, 112.404],
    std=[68.2125, 65.4075, 70.4055],
    to_rgb=False,
)

train_dataloader = dict(
    batch_size=128,
    num_workers=2,
    persistent_workers=True,
    collate_fn=dict(type='default_collate'),
    sampler=dict(type='DefaultSampler', shuffle=True),
    dataset=dict(
        type='mmmuse.PerSampleCIFAR100',
        data_root='data/cifar100',
        split='train',
        pipeline=[
            dict(type='RandomCrop', crop_size=32, padding=4),
            dict(type='RandomFlip', prob=0.5, direction='horizontal'),
            dict(type='PackInputs'),
        ],
    ),
)

val_dataloader = dict(
    batch_size=500,
    num_workers=2,
    persistent_workers=True,
    collate_fn=dict(type='default_collate'),
    sampler=dict(type='DefaultSampler', shuffle=False),
    dataset=dict(
        type='mmmuse.PerSampleCIFAR100',
        data_root='data/cifar100',
        split='test',
        pipeline=[dict(type='PackInputs')],
    ),
)
val_evaluator = [
    dict(type='Accuracy', topk=(1, 5)),
    dict(type='mmmuse.ExitAccuracy', topk=(1, 5)),
]

test_dataloader = val_dataloader
test_evaluator = val_evaluator
