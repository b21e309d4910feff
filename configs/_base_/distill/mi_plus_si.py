# MI + SI (equation 4), exits with CE and KD; num_locations=None scores every location.
neck = dict(type='mmmuse.SelfDistillNeck')
head = dict(
    type='mmmuse.MUSEHead',
    discrepancy=dict(type='mmmuse.MUSELoss', combine='additive', critic=dict(num_locations=64)),
)
