_base_ = './resnet110-resnet32_cifar100_kd.py'

# KD of logits with mean 0 and deviation 1.
model = dict(
    losses=[dict(type='mmmuse.KDLoss', temperature=2, loss_weight=9.0, standardize=True)],
)
