# Table 5, row L2, EfficientNet-B0.
_base_ = '../muse/efficientnet-b0_cifar100_mi_x_si.py'

model = dict(
    head=dict(discrepancy=dict(_delete_=True, type='mmmuse.HintLoss'), ce_weight=0.0, kd_weight=0.0)
)
