# mmdet's RetinaNet-R50 teaches mmdet's RetinaNet-R18: MUSE and attention transfer on the backbones.
_base_ = 'mmdet::retinanet/retinanet_r18_fpn_1x_coco.py'

model = dict(
    _delete_=True,
    type='mmmuse.OfflineDistiller',
    student=_base_.model,
    teacher='mmdet::retinanet/retinanet_r50_fpn_1x_coco.py',
    teacher_checkpoint='retinanet_r50_fpn_1x_coco_20200130-c2398f9e.pth',
    taps=dict(
        modules=['backbone.layer1', 'backbone.layer2', 'backbone.layer3'], last='backbone.layer4'
    ),
    losses=[
        dict(type='mmmuse.MUSELoss', critic=dict(num_locations='auto')),
        dict(type='mmmuse.AttentionTransferLoss', modules=[2, 3, 4]),
    ],
)

train_dataloader = dict(batch_sampler=dict(drop_last=True))  # MUSE needs two images.
default_hooks = dict(
    student_checkpoint=dict(type='mmmuse.StudentCheckpointHook'),
    information=dict(type='mmmuse.InformationLoggerHook'),
)
