_base_ = 'default_runtime.py'

default_scope = 'mmdet'
default_hooks = dict(
    logger=dict(interval=50),
    checkpoint=dict(save_best='coco/bbox_mAP', rule='greater'),
)
custom_hooks = [
    dict(
        type='EMAHook',
        ema_type='ExpMomentumEMA',
        momentum=0.0001,
        update_buffers=True,
        priority=49,
    ),
]
visualizer = dict(
    _delete_=True, type='DetLocalVisualizer', vis_backends=[dict(type='LocalVisBackend')]
)
log_processor = dict(type='LogProcessor', window_size=50, by_epoch=True)
