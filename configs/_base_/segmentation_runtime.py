_base_ = 'default_runtime.py'

default_scope = 'mmseg'
default_hooks = dict(checkpoint=dict(save_best='mIoU', rule='greater'))
visualizer = dict(
    _delete_=True, type='SegLocalVisualizer', vis_backends=[dict(type='LocalVisBackend')]
)
