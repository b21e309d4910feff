# CIFAR-100, batched: images are cropped, flipped and normalised on the model's device, batch by batch.
data_preprocessor = dict(
    type='mmmuse.BatchedDataPreprocessor',
    num_classes=100,
    mean=[129.3105, 124.1085, 112.404],  # 255 x (.5071, .4867, .4408)
    std=[68.2125, 65.4075, 70.4055],  # 255 x (.2675, .2565, .2761)
    crop_padding=4,
    flip_prob=0.5,
)

train_dataloader = dict(
    batch_size=128,
    num_workers=0,
    persistent_workers=False,
    collate_fn=dict(type='mmmuse.keep_batch'),
    sampler=dict(type='DefaultSampler', shuffle=True),
    dataset=dict(type='mmmuse.BatchedCIFAR100', data_root='data/cifar100', split='train'),
)

val_dataloader = dict(
    batch_size=500,
    num_workers=0,
    persistent_workers=False,
    collate_fn=dict(type='mmmuse.keep_batch'),
    sampler=dict(type='DefaultSampler', shuffle=False),
    dataset=dict(type='mmmuse.BatchedCIFAR100', data_root='data/cifar100', split='test'),
)
val_evaluator = [
    dict(type='Accuracy', topk=(1, 5)),
    dict(type='mmmuse.ExitAccuracy', topk=(1, 5)),
]

test_dataloader = val_dataloader
test_evaluator = val_evaluator
