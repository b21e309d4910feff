_base_ = '../muse/resnet18_cifar100_mi_x_si.py'

# FRSKD: a feature pyramid on the network's own maps teaches it.
model = dict(type='mmmuse.FRSKDDistiller', head=None, neck=None)
