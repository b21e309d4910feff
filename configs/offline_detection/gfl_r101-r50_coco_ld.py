# mmdet's GFL-R101 teaches its GFL-R50: localisation distillation of the box sides' distributions.
_base_ = 'mmdet::gfl/gfl_r50_fpn_1x_coco.py'

model = dict(
    _delete_=True,
    type='mmmuse.OfflineDistiller',
    student=_base_.model,
    teacher='mmdet::gfl/gfl_r101_fpn_ms-2x_coco.py',
    teacher_checkpoint='gfl_r101_fpn_mstrain_2x_coco_20200629_200126-dd12f847.pth',
    taps=dict(),  # The head is read, and no module.
    losses=[dict(type='mmmuse.LDLoss', temperature=10.0, loss_weight=0.25)],
)
default_hooks = dict(student_checkpoint=dict(type='mmmuse.StudentCheckpointHook'))
