_base_ = './densenet121_cifar100_ddgsd_mi_x_si.py'

model = dict(head=None, neck=None)
