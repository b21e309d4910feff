# mmpretrain's Swin teaches mmpretrain's MobileNetV2: tokens and maps, LayerNorm and BN.
_base_ = 'mmpretrain::mobilenet_v2/mobilenet-v2_8xb32_in1k.py'

model = dict(
    _delete_=True,
    type='mmmuse.OfflineDistiller',
    student=_base_.model,
    teacher='mmpretrain::swin_transformer/swin-tiny_16xb64_in1k.py',
    teacher_checkpoint='swin_tiny_224_b16x64_300e_imagenet_20210616_090925-66df6be6.pth',
    taps=dict(
        modules=['backbone.layer3', 'backbone.layer5', 'backbone.layer6'],
        last='backbone.conv2',
        logits='head',
    ),
    teacher_taps=dict(
        modules=['backbone.stages.0', 'backbone.stages.1', 'backbone.stages.2'],
        last='backbone.norm3',
        logits='head',
    ),
    losses=[
        dict(type='mmmuse.KDLoss', temperature=4),
        dict(type='mmmuse.MUSELoss', critic=dict(num_locations='auto')),
    ],
)

default_hooks = dict(
    student_checkpoint=dict(type='mmmuse.StudentCheckpointHook'),
    information=dict(type='mmmuse.InformationLoggerHook'),
)
