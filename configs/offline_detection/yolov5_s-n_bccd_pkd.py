# YOLOv5-S teaches YOLOv5-N on BCCD, on two CPU cores: PKD between the three levels of the pyramids. The weight is assumed: YOLOv5's
# own loss of an image is about a sixth of a RetinaNet's, for which the public code has 6.
_base_ = '../detection/yolov5_n_bccd.py'

model = dict(
    _delete_=True,
    type='mmmuse.OfflineDistiller',
    student=_base_.model,
    teacher='{{ fileDirname }}/../detection/yolov5_s_bccd.py',
    teacher_checkpoint='work_dirs/yolov5_s_bccd/epoch_300.pth',
    taps=dict(modules=['backbone.stage3', 'backbone.stage4', 'neck[0]', 'neck[1]'], last='neck[2]'),
    losses=[dict(type='mmmuse.PKDLoss', loss_weight=1.0, modules=[3, 4, 5])],
)
train_dataloader = dict(drop_last=True)  # As in the pairs with MUSE, which needs two images.
