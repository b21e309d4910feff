# BYOT: CE and KD of the exits, L2 between pooled features. Its total weighs the last exit's CE
# with 1 - alpha as well, so a config that uses this sets the student's loss weight to 0.9.
neck = dict(type='mmmuse.SelfDistillNeck')
head = dict(
    type='mmmuse.MUSEHead',
    exit=dict(loss=dict(type='CrossEntropyLoss', loss_weight=1.0)),
    discrepancy=dict(type='mmmuse.HintLoss'),
)
