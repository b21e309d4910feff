# Supervised KD on the same 2,000 labels: a tenth of the loss is cross-entropy, the rest KD.
_base_ = 'resnet20_cifar100-2k.py'

model = dict(
    _delete_=True,
    type='mmmuse.OfflineDistiller',
    student=_base_.model,
    teacher='{{ fileDirname }}/resnet56_cifar100-25k.py',
    teacher_checkpoint='work_dirs/resnet56_cifar100-25k/epoch_12.pth',
    taps=dict(logits='head'),
    losses=[dict(type='mmmuse.KDLoss', temperature=4, loss_weight=0.9)],
)
model['student']['head']['loss']['loss_weight'] = 0.1
