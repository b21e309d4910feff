# mmdet's YOLOX-S, distilled between the stages of its CSPDarknet.
_base_ = 'mmdet::yolox/yolox_s_8xb8-300e_coco.py'

model = dict(
    _delete_=True,
    type='mmmuse.SelfDistiller',
    student=_base_.model,
    taps=dict(modules=['backbone.stage2', 'backbone.stage3'], last='backbone.stage4'),
    head='mi_x_si_alone',
)
train_dataloader = dict(drop_last=True)

default_hooks = dict(
    student_checkpoint=dict(type='mmmuse.StudentCheckpointHook'),
    information=dict(type='mmmuse.InformationLoggerHook'),
)
