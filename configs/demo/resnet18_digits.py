# A small CIFAR-style ResNet-18 (16-32-64-128 channels) on scikit-learn's handwritten digits.
_base_ = '../_base_/default_runtime.py'

data_preprocessor = dict(
    type='mmmuse.BatchedDataPreprocessor', num_classes=10, mean=[73.0], std=[90.0], crop_padding=1
)

model = dict(
    type='ImageClassifier',
    backbone=dict(type='ResNet_CIFAR', depth=18, in_channels=1, stem_channels=16, base_channels=16),
    neck=dict(type='GlobalAveragePooling'),
    head=dict(type='LinearClsHead', num_classes=10, in_channels=128),
)

train_dataloader = dict(
    batch_size=64,
    num_workers=0,
    drop_last=True,
    collate_fn=dict(type='mmmuse.keep_batch'),
    sampler=dict(type='DefaultSampler', shuffle=True),
    dataset=dict(type='mmmuse.BatchedDigits', split='train'),
)
val_dataloader = dict(
    batch_size=450,
    num_workers=0,
    collate_fn=dict(type='mmmuse.keep_batch'),
    sampler=dict(type='DefaultSampler', shuffle=False),
    dataset=dict(type='mmmuse.BatchedDigits', split='test'),
)
val_evaluator = [dict(type='Accuracy', topk=1), dict(type='mmmuse.ExitAccuracy')]
test_dataloader = val_dataloader
test_evaluator = val_evaluator

optim_wrapper = dict(optimizer=dict(type='SGD', lr=0.05, momentum=0.9, weight_decay=5e-4))
param_scheduler = dict(
    type='CosineAnnealingLR', by_epoch=True, T_max=50, convert_to_iter_based=True
)
train_cfg = dict(by_epoch=True, max_epochs=50, val_interval=1)
val_cfg = dict()
test_cfg = dict()

default_hooks = dict(information=dict(interval=10))
