# Table 6, row MMD.
_base_ = '../muse/resnet18_cifar100_mi_x_si.py'

model = dict(head=dict(discrepancy=dict(_delete_=True, type='mmmuse.MMDLoss'), kd_weight=0.0))
