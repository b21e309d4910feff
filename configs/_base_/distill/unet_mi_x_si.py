# Two levels of the encoder and one of the decoder learn from the last feature (MI x SI, equation 6). Exits, with a
# small head each, are behind the third level of the encoder and behind the decoder at half the resolution.
taps = dict(
    modules=['backbone.encoder.1', 'backbone.encoder.2', 'backbone.decoder.1'],
    last='backbone.decoder.0',
    logits='decode_head.conv_seg',
)
exit = dict(type='mmmuse.SegmentationExit', decode_head=dict(type='FCNHead', channels=32))
exit_modules = [2, 3]
head = dict(
    type='mmmuse.MUSEHead',
    ce_weight=0,
    kd_weight=0,
    discrepancy=dict(
        type='mmmuse.MUSELoss', combine='multiplicative', critic=dict(num_locations='auto')
    ),
)
