_base_ = ['../baselines/efficientnet-b0-32_cifar100.py', '../_base_/distill/mi_plus_si.py']

model = dict(
    _delete_=True,
    type='mmmuse.SelfDistiller',
    student=_base_.model,
    taps=dict(
        modules=['backbone.layers.3', 'backbone.layers.4', 'backbone.layers.5.3'],
        last='backbone.layers.6',
        logits='head',
    ),
    neck=_base_.neck,
    head=_base_.head,
)
