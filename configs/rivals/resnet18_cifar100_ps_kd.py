_base_ = '../muse/resnet18_cifar100_mi_x_si.py'

# PS-KD: targets softened by the network of the epoch before.
model = dict(type='mmmuse.PSKDDistiller', head=None, neck=None)
