# MUSE in a YOLOv5-N on BCCD. The row "exit" has a second neck and head without MUSE, so it separates the effect of the exit from that of MUSE.
# Images of 224 px, 100 epochs, bfloat16; "alone" is the same training as in bccd_teachers.py.
_base_ = 'bccd_teachers.py'

title = 'MUSE in a detector: BCCD'
references = ['alone', 'exit']

options = {
    'optim_wrapper.type': 'mmmuse.BFloat16OptimWrapper',
    'default_hooks.channels_last.type': 'mmmuse.ChannelsLastHook',
}

_muse = 'configs/detection/yolov5_n_bccd_mi_x_si.py'

rows = [
    dict(name='alone', config='configs/detection/yolov5_n_bccd.py'),
    dict(name='exit', config=_muse, options={'model.head': None}),
    dict(name='MI + SI', config=_muse, options={'model.head.discrepancy.combine': 'additive'}),
    dict(name='MI x SI', config=_muse),
]
