# BCCD, 205 images of blood cells for training and 87 for validation, as COCO in mosaics but at half its size.
_base_ = 'coco_mosaic.py'

img_scale = (320, 320)
images = dict(
    data_root='data/bccd/',
    data_prefix=dict(img='images/'),
    metainfo=dict(classes=('RBC', 'WBC', 'Platelets')),
)
mosaic, affine, *more = _base_.train_dataloader.dataset.pipeline
load, resize, *pack = _base_.val_dataloader.dataset.pipeline
border = (-img_scale[0] // 2, -img_scale[1] // 2)

train_dataloader = dict(
    num_workers=1,
    dataset=dict(
        dataset=dict(**images, ann_file='instances_train.json'),
        pipeline=[{**mosaic, 'img_scale': img_scale}, {**affine, 'border': border}, *more],
    ),
)
val_dataloader = dict(
    num_workers=1,
    dataset=dict(
        **images,
        ann_file='instances_val.json',
        pipeline=[load, {**resize, 'scale': img_scale}, *pack],
    ),
)
test_dataloader = val_dataloader
val_evaluator = dict(ann_file='data/bccd/instances_val.json')
test_evaluator = val_evaluator
