# MI x SI (equation 6) between stages of a detector's backbone: without class logits, no CE and KD.
head = dict(
    type='mmmuse.MUSEHead',
    ce_weight=0,
    kd_weight=0,
    discrepancy=dict(
        type='mmmuse.MUSELoss', combine='multiplicative', critic=dict(num_locations=64)
    ),
)
