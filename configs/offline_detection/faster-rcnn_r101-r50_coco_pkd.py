# A two-stage pair: mmdet's Faster R-CNN-R101 teaches its Faster R-CNN-R50 by the pyramid; its heads do not run.
_base_ = 'mmdet::faster_rcnn/faster-rcnn_r50_fpn_1x_coco.py'

model = dict(
    _delete_=True,
    type='mmmuse.OfflineDistiller',
    student=_base_.model,
    teacher='mmdet::faster_rcnn/faster-rcnn_r101_fpn_2x_coco.py',
    teacher_checkpoint='faster_rcnn_r101_fpn_2x_coco_bbox_mAP-0.398_20200504_210455-1d2dac9c.pth',
    taps=dict(modules=['neck[0]', 'neck[1]', 'neck[2]', 'neck[3]'], last='neck[4]'),
    losses=[dict(type='mmmuse.PKDLoss', loss_weight=6.0)],
)
default_hooks = dict(student_checkpoint=dict(type='mmmuse.StudentCheckpointHook'))
