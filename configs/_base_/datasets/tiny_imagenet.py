# TinyImageNet: per image from the official folders, 64x64; normalised as CIFAR-100 (method, section 5).
data_preprocessor = dict(
    type='mmmuse.BatchedDataPreprocessor',
    num_classes=200,
    mean=[129.3105, 124.1085, 112.404],
    std=[68.2125, 65.4075, 70.4055],
    to_rgb=True,
)

train_dataloader = dict(
    batch_size=64,
    num_workers=4,
    persistent_workers=True,
    collate_fn=dict(type='default_collate'),
    sampler=dict(type='DefaultSampler', shuffle=True),
    dataset=dict(
        type='mmmuse.TinyImageNet',
        data_root='data/tiny-imagenet-200',
        split='train',
        pipeline=[
            dict(type='mmmuse.LoadCheckedImage'),
            dict(type='RandomCrop', crop_size=64, padding=8),
            dict(type='RandomFlip', prob=0.5, direction='horizontal'),
            dict(type='PackInputs'),
        ],
    ),
)

val_dataloader = dict(
    batch_size=250,
    num_workers=4,
    persistent_workers=True,
    collate_fn=dict(type='default_collate'),
    sampler=dict(type='DefaultSampler', shuffle=False),
    dataset=dict(
        type='mmmuse.TinyImageNet',
        data_root='data/tiny-imagenet-200',
        split='val',
        pipeline=[dict(type='mmmuse.LoadCheckedImage'), dict(type='PackInputs')],
    ),
)
val_evaluator = [
    dict(type='Accuracy', topk=(1, 5)),
    dict(type='mmmuse.ExitAccuracy', topk=(1, 5)),
]

test_dataloader = val_dataloader
test_evaluator = val_evaluator
