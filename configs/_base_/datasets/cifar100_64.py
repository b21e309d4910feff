# CIFAR-100 in batches of 64.
_base_ = 'cifar100.py'

train_dataloader = dict(batch_size=64)
