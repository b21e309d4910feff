_base_ = './resnet56-resnet56_cifar100_kd.py'

# DML: KL divergence from each other, at temperature 1.
model = dict(losses=[dict(type='mmmuse.KDLoss', temperature=1)])
