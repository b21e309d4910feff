# MI x SI (equation 6), exits with CE and KD; num_locations=None scores every location.
neck = dict(type='mmmuse.SelfDistillNeck')
head = dict(
    type='mmmuse.MUSEHead',
    discrepancy=dict(
        type='mmmuse.MUSELoss', combine='multiplicative', critic=dict(num_locations=64)
    ),
)
