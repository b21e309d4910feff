_base_ = './resnet56-resnet20_cifar100_kd.py'

# Variational information distillation at each stage.
model = dict(
    student=dict(head=dict(loss=dict(loss_weight=1.0))),
    losses=[dict(type='mmmuse.VIDLoss', modules=[2, 3, 4])],
)
