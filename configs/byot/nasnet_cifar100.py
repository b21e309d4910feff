_base_ = ['../baselines/nasnet_cifar100.py', '../_base_/distill/byot.py']

student = _base_.model
student['head']['loss']['loss_weight'] = 0.9
model = dict(
    _delete_=True,
    type='mmmuse.SelfDistiller',
    student=student,
    taps=dict(
        modules=['backbone.cells.4[0]', 'backbone.cells.8[0]', 'backbone.cells.9[0]'],
        last='backbone.relu',
        logits='head',
    ),
    neck=_base_.neck,
    head=_base_.head,
)
