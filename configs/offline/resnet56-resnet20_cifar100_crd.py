_base_ = './resnet56-resnet20_cifar100_kd.py'

# Contrastive representation distillation.
model = dict(
    student=dict(head=dict(loss=dict(loss_weight=1.0))),
    losses=[dict(type='mmmuse.CRDLoss')],
)
