# mmdet's FCOS, without anchors, distilled between the stages of its ResNet.
_base_ = 'mmdet::fcos/fcos_r50-caffe_fpn_gn-head_1x_coco.py'

model = dict(
    _delete_=True,
    type='mmmuse.SelfDistiller',
    student=_base_.model,
    taps=dict(modules=['backbone.layer2', 'backbone.layer3'], last='backbone.layer4'),
    head='mi_x_si_alone',
)
train_dataloader = dict(batch_sampler=dict(drop_last=True))

default_hooks = dict(
    student_checkpoint=dict(type='mmmuse.StudentCheckpointHook'),
    information=dict(type='mmmuse.InformationLoggerHook'),
)
