_base_ = ['../baselines/densenet121_cifar100.py', '../_base_/distill/mi_x_si.py']

model = dict(
    _delete_=True,
    type='mmmuse.SelfDistiller',
    student=_base_.model,
    taps=dict(
        modules=['backbone.transitions.0', 'backbone.transitions.1', 'backbone.transitions.2'],
        last='backbone.transitions.3',
        logits='head',
    ),
    neck=_base_.neck,
    head=_base_.head,
)
