_base_ = './resnet20-resnet20_cifar100_kd.py'

# KDCL: half cross-entropy, half KD from the mean of the logits.
model = dict(own_weight=0.5, losses=[dict(type='mmmuse.KDCLLoss')])
