_base_ = '../muse/densenet121_cifar100_mi_x_si.py'

# PS-KD: targets softened by the network of the epoch before.
model = dict(type='mmmuse.PSKDDistiller', head=None, neck=None)
