_base_ = ['../baselines/nasnet_cifar100.py', '../_base_/distill/mi_plus_si.py']

model = dict(
    _delete_=True,
    type='mmmuse.SelfDistiller',
    student=_base_.model,
    taps=dict(
        modules=['backbone.cells.4[0]', 'backbone.cells.8[0]', 'backbone.cells.9[0]'],
        last='backbone.relu',
        logits='head',
    ),
    neck=_base_.neck,
    head=_base_.head,
)
