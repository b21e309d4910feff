_base_ = '../muse/resnet34_cifar100_mi_x_si.py'

# L2 in place of MUSE; BYOT's total weighs the network's own cross-entropy with 1 - alpha as well.
model = dict(
    student=dict(head=dict(loss=dict(loss_weight=0.9))),
    head=dict(
        exit=dict(loss=dict(type='CrossEntropyLoss', loss_weight=1.0)),
        discrepancy=dict(_delete_=True, type='mmmuse.HintLoss'),
    ),
)
