_base_ = '../muse/resnet18_cifar100_mi_x_si.py'

# FRSKD and MUSE: a feature pyramid on the network's own maps teaches it.
model = dict(type='mmmuse.FRSKDDistiller')
