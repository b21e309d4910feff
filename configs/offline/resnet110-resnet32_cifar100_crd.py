_base_ = './resnet110-resnet32_cifar100_kd.py'

# Contrastive representation distillation.
model = dict(
    student=dict(head=dict(loss=dict(loss_weight=1.0))),
    losses=[dict(type='mmmuse.CRDLoss')],
)
