# CIFAR-100 with 2,000 labels: training images 0 to 1,999, in batches of 64. The test set is read once, after the last epoch.
_base_ = 'cifar100_64.py'

train_dataloader = dict(drop_last=True, dataset=dict(indices=2000))
