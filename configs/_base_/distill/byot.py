# What BYOT changes in a config of MUSE: L2 between features in place of MUSE, and the network's own
# cross-entropy, beside the exits', weighted with 1 - alpha.
byot = dict(
    student=dict(head=dict(loss=dict(loss_weight=0.9))),
    head=dict(
        exit=dict(loss=dict(type='CrossEntropyLoss', loss_weight=1.0)),
        discrepancy=dict(_delete_=True, type='mmmuse.HintLoss'),
    ),
)
