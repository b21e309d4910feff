_base_ = ['../baselines/resnet101_cifar100.py', '../_base_/distill/byot.py']

student = _base_.model
student['head']['loss']['loss_weight'] = 0.9
model = dict(
    _delete_=True,
    type='mmmuse.SelfDistiller',
    student=student,
    taps=dict(
        modules=['backbone.layer1', 'backbone.layer2', 'backbone.layer3'],
        last='backbone.layer4',
        logits='head',
    ),
    neck=_base_.neck,
    head=_base_.head,
)
