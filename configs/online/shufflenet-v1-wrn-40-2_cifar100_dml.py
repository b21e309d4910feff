_base_ = './shufflenet-v1-wrn-40-2_cifar100_kd.py'

# DML: KL divergence from each other, at temperature 1.
model = dict(losses=[dict(type='mmmuse.KDLoss', temperature=1)])
