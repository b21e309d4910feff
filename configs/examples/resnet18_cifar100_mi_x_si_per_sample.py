# mmpretrain's per-sample pipeline: one line of the baseline's four differs.
_base_ = [
    '../_base_/models/resnet18_cifar.py',
    '../_base_/datasets/cifar100_per_sample.py',
    '../_base_/schedules/cifar_200e.py',
    '../_base_/default_runtime.py',
    '../_base_/distill/mi_x_si.py',
]

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
