# mmdet's RetinaNet with an exit, a second neck and head, after the third stage of its ResNet.
_base_ = 'mmdet::retinanet/retinanet_r50_fpn_1x_coco.py'

model = dict(
    _delete_=True,
    type='mmmuse.DetectionSelfDistiller',
    student=_base_.model,
    taps=dict(modules=['backbone.layer2', 'backbone.layer3'], last='backbone.layer4'),
    exit_modules=[2],
    head='mi_x_si_alone',
)
train_dataloader = dict(batch_sampler=dict(drop_last=True))

default_hooks = dict(
    student_checkpoint=dict(type='mmmuse.StudentCheckpointHook'),
    information=dict(type='mmmuse.InformationLoggerHook'),
)
val_evaluator = [
    _base_.val_evaluator,
    dict(type='mmmuse.ExitDetectionMetric', metric=_base_.val_evaluator),
]
test_evaluator = val_evaluator
