_base_ = './resnet110-resnet32_cifar100_kd.py'

# Knowledge review: each stage, and the pooled last one.
model = dict(
    student=dict(head=dict(loss=dict(loss_weight=1.0))),
    losses=[dict(type='mmmuse.ReviewKDLoss', modules=[2, 3, 4])],
)
