_base_ = './resnet20-resnet20_cifar100_kd.py'

# DML: KL divergence from each other, at temperature 1.
model = dict(losses=[dict(type='mmmuse.KDLoss', temperature=1)])
