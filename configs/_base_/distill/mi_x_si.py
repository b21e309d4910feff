# MI x SI (equation 6), exits with CE and KD. The critics score 1,024 locations of a batch ('auto'); None for every location.
neck = dict(type='mmmuse.SelfDistillNeck')
head = dict(
    type='mmmuse.MUSEHead',
    discrepancy=dict(
        type='mmmuse.MUSELoss', combine='multiplicative', critic=dict(num_locations='auto')
    ),
)
