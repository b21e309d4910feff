# Ten images of COCO, for training and testing without augmentation: does the detector overfit them?
# docs/results/detection.md has the command that writes the annotation file.
img_scale = (416, 416)
dataset = dict(
    type='mmmuse.CheckedCocoDataset',
    ann_file='work_dirs/ten_images.json',
    data_prefix=dict(img='data/coco-mini/train2017/'),
)
resize = dict(type='Resize', scale=img_scale, keep_ratio=True)
annotations = dict(type='LoadAnnotations', with_bbox=True)
pack = dict(
    type='PackDetInputs', meta_keys=('img_id', 'img_path', 'ori_shape', 'img_shape', 'scale_factor')
)
load = dict(type='mmmuse.LoadCheckedImage')

train_dataloader = dict(
    batch_size=5,
    num_workers=0,
    sampler=dict(type='DefaultSampler', shuffle=True),
    dataset=dict(**dataset, pipeline=[load, annotations, resize, pack]),
)
val_dataloader = dict(
    batch_size=5,
    num_workers=0,
    sampler=dict(type='DefaultSampler', shuffle=False),
    dataset=dict(**dataset, test_mode=True, pipeline=[load, resize, annotations, pack]),
)
test_dataloader = val_dataloader
val_evaluator = dict(
    type='mmmuse.ZeroCocoMetric', ann_file='work_dirs/ten_images.json', metric='bbox'
)
test_evaluator = val_evaluator
