_base_ = './shufflenet-v1-wrn-40-2_cifar100_kd.py'

# KDCL: half cross-entropy, half KD from the mean of the logits.
model = dict(own_weight=0.5, losses=[dict(type='mmmuse.KDCLLoss')])
