# The schedule of CIFAR-100 in batches of 64.
_base_ = 'cifar_200e.py'

auto_scale_lr = dict(base_batch_size=64)
