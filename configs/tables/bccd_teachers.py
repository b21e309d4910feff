# What a YOLOv5-N learns from a YOLOv5-S on BCCD, on two CPU cores: images of 224 px, 100 epochs, students in
# bfloat16. The teacher is trained once.
title = 'A bigger detector teaches a smaller one: BCCD'
metric = 'coco/bbox_mAP_50'
references = ['alone']

_offline = 'configs/offline_detection/yolov5_s-n_bccd'
_size = (224, 224)
_fast = {
    'optim_wrapper.type': 'mmmuse.BFloat16OptimWrapper',
    'default_hooks.channels_last.type': 'mmmuse.ChannelsLastHook',
}
_taught = {'model.teacher_checkpoint': '{after}', **_fast}

options = {
    'train_dataloader.dataset.pipeline.0.img_scale': _size,
    'train_dataloader.dataset.pipeline.1.border': (-112, -112),
    'val_dataloader.dataset.pipeline.1.scale': _size,
    'test_dataloader.dataset.pipeline.1.scale': _size,
    'train_dataloader.drop_last': True,
    'train_cfg.max_epochs': 100,
    'param_scheduler.2.T_max': 97,
    'param_scheduler.2.end': 100,
    'default_hooks.checkpoint.max_keep_ckpts': 1,
}

rows = [
    dict(name='the teacher', config='configs/detection/yolov5_s_bccd.py', seed=0),
    dict(name='alone', config='configs/detection/yolov5_n_bccd.py', options=_fast),
    *(
        dict(name=name, config=f'{_offline}_{variant}.py', after='the teacher', options=_taught)
        for name, variant in (
            ('PKD', 'pkd'),
            ('MI x SI', 'mi_x_si'),
            ('PKD and MI x SI', 'pkd_mi_x_si'),
        )
    ),
]
