_base_ = './resnet20-resnet56_cifar100_kd.py'

# AFD: adversarial feature discriminators, and KL divergence of the logits.
model = dict(losses=[dict(type='mmmuse.AFDLoss'), dict(type='mmmuse.KDLoss', temperature=3)])
