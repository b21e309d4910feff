_base_ = './resnet56-resnet20_cifar100_kd.py'

# Knowledge review: each stage, and the pooled last one.
model = dict(
    student=dict(head=dict(loss=dict(loss_weight=1.0))),
    losses=[dict(type='mmmuse.ReviewKDLoss', modules=[2, 3, 4])],
)
