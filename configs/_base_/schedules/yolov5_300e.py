# SGD for losses that are multiplied by the batch, of 64 images: no --auto-scale-lr; three epochs of warm-up, then a cosine to a fifth.
max_epochs = 300
optim_wrapper = dict(
    type='OptimWrapper',
    constructor='mmmuse.ThreeGroupsConstructor',
    optimizer=dict(type='SGD', lr=0.01, momentum=0.937, nesterov=True, weight_decay=0.0005),
)
param_scheduler = [
    dict(type='mmmuse.BiasWarmupLR', bias_lr=0.1, end=3, convert_to_iter_based=True),
    dict(type='LinearMomentum', start_factor=0.8 / 0.937, end=3, convert_to_iter_based=True),
    dict(
        type='CosineAnnealingLR', eta_min_ratio=0.2, begin=3, T_max=max_epochs - 3, end=max_epochs
    ),
]
train_cfg = dict(by_epoch=True, max_epochs=max_epochs, val_interval=10)
val_cfg = dict()
test_cfg = dict()
