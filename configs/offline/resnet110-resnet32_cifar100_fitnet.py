_base_ = './resnet110-resnet32_cifar100_kd.py'

# FitNets: the second stage as a hint.
model = dict(
    student=dict(head=dict(loss=dict(loss_weight=1.0))),
    losses=[dict(type='mmmuse.FitNetLoss', modules=[3])],
)
