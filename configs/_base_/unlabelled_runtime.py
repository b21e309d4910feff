# A backbone that learns a teacher's features: AdamW, five epochs of warm-up, then a cosine. No task, no metric of a task.
_base_ = 'default_runtime.py'

max_epochs = 100
optim_wrapper = dict(optimizer=dict(type='AdamW', lr=1e-3, weight_decay=0.05))
param_scheduler = [
    dict(type='LinearLR', start_factor=0.01, by_epoch=True, end=5, convert_to_iter_based=True),
    dict(
        type='CosineAnnealingLR',
        by_epoch=True,
        begin=5,
        T_max=max_epochs - 5,
        end=max_epochs,
        convert_to_iter_based=True,
    ),
]
train_cfg = dict(by_epoch=True, max_epochs=max_epochs, val_interval=5)

default_hooks = dict(
    checkpoint=dict(save_best=None),
    backbone_checkpoint=dict(type='mmmuse.BackboneCheckpointHook'),
)
