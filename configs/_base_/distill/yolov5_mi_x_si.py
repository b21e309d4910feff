# Two modules: up to the stage of stride 16, and the last stage; an exit with a second neck and head after the first.
# MI x SI (equation 6) between them: without class logits, no CE and KD.
taps = dict(modules=['backbone.stage3'], last='backbone.stage4')
exit = dict(
    type='mmmuse.DetectionExit',
    bottleneck=dict(norm_cfg=dict(type='BN', momentum=0.03, eps=0.001)),
)
head = dict(
    type='mmmuse.MUSEHead',
    ce_weight=0,
    kd_weight=0,
    discrepancy=dict(
        type='mmmuse.MUSELoss', combine='multiplicative', critic=dict(num_locations=64)
    ),
)
