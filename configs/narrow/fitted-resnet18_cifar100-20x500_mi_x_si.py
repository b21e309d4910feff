_base_ = ['fitted-resnet18_cifar100-20x500.py', '../_base_/distill/mi_x_si.py']

head = _base_.head
head['discrepancy']['critic'].update(hidden_channels=128)

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
    head=head,
)
