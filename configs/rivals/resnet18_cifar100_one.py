_base_ = './resnet18_cifar100_one_mi_x_si.py'

model = dict(head=None, neck=None)
