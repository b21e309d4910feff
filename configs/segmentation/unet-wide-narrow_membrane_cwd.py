# The narrow U-Net learns from the wide one by CWD: the features of the last level (module 1) and the scores of the
# classes (module 2). Train unet-wide_membrane.py first.
_base_ = 'unet_membrane.py'

model = dict(
    _delete_=True,
    type='mmmuse.OfflineDistiller',
    student=_base_.model,
    teacher='{{ fileDirname }}/unet-wide_membrane.py',
    teacher_checkpoint='work_dirs/unet-wide_membrane/epoch_40.pth',
    taps=dict(modules=['backbone.decoder.0'], last='decode_head.conv_seg'),
    losses=[
        dict(type='mmmuse.CWDLoss', modules=[1], loss_weight=50.0),
        dict(type='mmmuse.CWDLoss', modules=[2], loss_weight=3.0),
    ],
)
