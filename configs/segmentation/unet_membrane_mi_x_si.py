_base_ = ['unet_membrane.py', '../_base_/distill/unet_mi_x_si.py']

model = dict(
    _delete_=True,
    type='mmmuse.SegmentationSelfDistiller',
    student=_base_.model,
    taps=_base_.taps,
    exit=_base_.exit,
    exit_modules=_base_.exit_modules,
    head=_base_.head,
)
val_evaluator = [
    _base_.val_evaluator,
    dict(type='mmmuse.ExitSegmentationMetric', metric=_base_.val_evaluator),
]
test_evaluator = val_evaluator
