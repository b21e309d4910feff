# Every location of every map is scored, as in the paper, instead of 64 of each image.
_base_ = '../muse/resnet18_cifar100_mi_x_si.py'

model = dict(head=dict(discrepancy=dict(critic=dict(num_locations=None))))
