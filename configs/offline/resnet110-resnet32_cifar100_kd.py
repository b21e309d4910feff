_base_ = '../baselines/resnet32_cifar100.py'

# A trained ResNet-110 teaches a ResNet-32: a tenth of the loss is cross-entropy, the rest KD.
model = dict(
    _delete_=True,
    type='mmmuse.OfflineDistiller',
    student=_base_.model,
    teacher='{{ fileDirname }}/../baselines/resnet110_cifar100.py',
    teacher_checkpoint='work_dirs/resnet110_cifar100/epoch_240.pth',
    taps=dict(
        modules=['backbone.relu', 'backbone.layer1', 'backbone.layer2'],
        last='backbone.layer3',
        logits='head',
    ),
    losses=[dict(type='mmmuse.KDLoss', temperature=4, loss_weight=0.9)],
)
model['student']['head']['loss']['loss_weight'] = 0.1
