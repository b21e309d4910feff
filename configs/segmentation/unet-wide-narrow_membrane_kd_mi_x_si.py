# The narrow U-Net learns from the wide one: pixel by pixel from its logits, and MI x SI between levels of both.
# Train unet-wide_membrane.py first.
_base_ = 'unet_membrane.py'

model = dict(
    _delete_=True,
    type='mmmuse.OfflineDistiller',
    student=_base_.model,
    teacher='{{ fileDirname }}/unet-wide_membrane.py',
    teacher_checkpoint='work_dirs/unet-wide_membrane/epoch_40.pth',
    taps=dict(
        modules=['backbone.encoder.2', 'backbone.encoder.3', 'backbone.decoder.1'],
        last='backbone.decoder.0',
        logits='decode_head.conv_seg',
    ),
    losses=[
        dict(type='mmmuse.KDLoss'),
        dict(type='mmmuse.MUSELoss', combine='multiplicative', critic=dict(num_locations='auto')),
    ],
)
