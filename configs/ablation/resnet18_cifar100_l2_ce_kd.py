# Table 5, row L2 + CE + KD.
_base_ = '../muse/resnet18_cifar100_mi_x_si.py'

model = dict(head=dict(discrepancy=dict(_delete_=True, type='mmmuse.HintLoss')))
