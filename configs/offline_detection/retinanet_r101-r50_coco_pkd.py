# mmdet's RetinaNet-R101 teaches its RetinaNet-R50: PKD between the five levels of the pyramids.
_base_ = 'mmdet::retinanet/retinanet_r50_fpn_1x_coco.py'

model = dict(
    _delete_=True,
    type='mmmuse.OfflineDistiller',
    student=_base_.model,
    teacher='mmdet::retinanet/retinanet_r101_fpn_2x_coco.py',
    teacher_checkpoint='retinanet_r101_fpn_2x_coco_20200131-5560aee8.pth',
    taps=dict(modules=['neck[0]', 'neck[1]', 'neck[2]', 'neck[3]'], last='neck[4]'),
    losses=[dict(type='mmmuse.PKDLoss', loss_weight=6.0)],
)
default_hooks = dict(student_checkpoint=dict(type='mmmuse.StudentCheckpointHook'))
