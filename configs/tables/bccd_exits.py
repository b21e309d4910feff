# MUSE in a YOLOv5-N on BCCD. The row "exit" has a second neck and head without MUSE, so it separates the effect of the exit from that of MUSE.
# Images of 224 px, 100 epochs, bfloat16; "alone" is the same training as in bccd_teachers.py. Features at 0.003 are a weight set after two seeds at the
# default of 0.03, whose gradients are longer than the detector's own.
_base_ = 'bccd_teachers.py'

title = 'MUSE in a detector: BCCD'
references = ['alone', 'exit']

options = {
    'optim_wrapper.type': 'mmmuse.BFloat16OptimWrapper',
    'default_hooks.channels_last.type': 'mmmuse.ChannelsLastHook',
}

_muse = 'configs/detection/yolov5_n_bccd_mi_x_si.py'
_additive = {'model.head.discrepancy.combine': 'additive'}
_weak = {'model.head.discrepancy.loss_weight': 0.003}

rows = [
    dict(name='alone', config='configs/detection/yolov5_n_bccd.py'),
    dict(name='exit', config=_muse, options={'model.head': None}),
    dict(name='MI + SI', config=_muse, options=_additive),
    dict(name='MI x SI', config=_muse),
    dict(name='MI + SI, features 0.003', config=_muse, options={**_additive, **_weak}),
    dict(name='MI x SI, features 0.003', config=_muse, options=_weak),
]
