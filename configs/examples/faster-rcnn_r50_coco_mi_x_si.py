# mmdet's Faster R-CNN, two stages of detection, distilled between the stages of its ResNet.
_base_ = 'mmdet::faster_rcnn/faster-rcnn_r50_fpn_1x_coco.py'

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
