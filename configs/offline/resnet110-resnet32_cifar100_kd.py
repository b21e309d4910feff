_base_ = './resnet56-resnet20_cifar100_kd.py'

# A trained ResNet-110 teaches a ResNet-32: a tenth of the loss is cross-entropy, the rest KD.
model = dict(
    student=dict(backbone=dict(depth=32)),
    teacher='{{ fileDirname }}/../baselines/resnet110_cifar100.py',
    teacher_checkpoint='work_dirs/resnet110_cifar100/epoch_240.pth',
)
