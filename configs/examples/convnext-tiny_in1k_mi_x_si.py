_base_ = ['mmpretrain::convnext/convnext-tiny_32xb128_in1k.py']

model = dict(
    _delete_=True,
    type='mmmuse.SelfDistiller',
    student=_base_.model,
    taps=dict(
        modules=['backbone.stages.0', 'backbone.stages.1', 'backbone.stages.2'],
        last='backbone.norm3',
        logits='head',
    ),
    neck=dict(type='mmmuse.SelfDistillNeck'),
    head=dict(
        type='mmmuse.MUSEHead',
        discrepancy=dict(
            type='mmmuse.MUSELoss', combine='multiplicative', critic=dict(num_locations='auto')
        ),
    ),
)

default_hooks = dict(
    student_checkpoint=dict(type='mmmuse.StudentCheckpointHook'),
    information=dict(type='mmmuse.InformationLoggerHook'),
)
val_evaluator = [_base_.val_evaluator, dict(type='mmmuse.ExitAccuracy')]
test_evaluator = val_evaluator
