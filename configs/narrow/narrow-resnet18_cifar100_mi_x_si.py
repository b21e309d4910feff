_base_ = ['narrow-resnet18_cifar100.py', '../_base_/distill/mi_x_si.py']

model = dict(
    _delete_=True,
    type='mmmuse.SelfDistiller',
    student=_base_.model,
    taps=dict(
        modules=['backbone.layer1', 'backbone.layer2', 'backbone.layer3'],
        last='backbone.layer4',
        logits='head',
    ),
    neck=_base_.neck,
    head=_base_.head,
)
