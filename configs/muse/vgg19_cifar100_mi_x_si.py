_base_ = ['../baselines/vgg19_cifar100.py', '../_base_/distill/mi_x_si.py']

model = dict(
    _delete_=True,
    type='mmmuse.SelfDistiller',
    student=_base_.model,
    taps=dict(
        modules=['backbone.features.2', 'backbone.features.5', 'backbone.features.10'],
        last='backbone.features.20',
        logits='head',
    ),
    neck=_base_.neck,
    head=_base_.head,
)
