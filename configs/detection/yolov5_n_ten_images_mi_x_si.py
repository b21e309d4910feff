_base_ = ['yolov5_n_ten_images.py', '../_base_/distill/yolov5_mi_x_si.py']

model = dict(
    _delete_=True,
    type='mmmuse.DetectionSelfDistiller',
    student=_base_.model,
    taps=_base_.taps,
    exit=_base_.exit,
    head=_base_.head,
)
val_evaluator = [
    _base_.val_evaluator,
    dict(type='mmmuse.ExitDetectionMetric', metric=_base_.val_evaluator),
]
test_evaluator = val_evaluator
