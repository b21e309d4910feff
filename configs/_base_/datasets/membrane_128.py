# Cell membranes in electron microscopy (ISBI 2012): 30 images of 512x512 pixels, 24 to train and 6 to
# validate. The lists name the images; nothing is copied.
metainfo = dict(classes=('membrane', 'cell'), palette=[[0, 0, 0], [255, 255, 255]])
dataset = dict(
    type='BaseSegDataset',
    img_suffix='.png',
    seg_map_suffix='.png',
    data_root='data/membrane',
    data_prefix=dict(img_path='images', seg_map_path='labels'),
    metainfo=metainfo,
)
train_pipeline = [
    dict(type='LoadImageFromFile'),
    dict(type='LoadAnnotations'),
    dict(type='RandomCrop', crop_size=(128, 128)),
    dict(type='RandomFlip', prob=[0.25, 0.25], direction=['horizontal', 'vertical']),
    dict(type='PackSegInputs'),
]
test_pipeline = [
    dict(type='LoadImageFromFile'),
    dict(type='LoadAnnotations'),
    dict(type='PackSegInputs'),
]

# An epoch is four crops of each image.
train_dataloader = dict(
    batch_size=8,
    num_workers=1,
    persistent_workers=True,
    sampler=dict(type='DefaultSampler', shuffle=True),
    dataset=dict(
        type='RepeatDataset',
        times=4,
        dataset=dict(
            **dataset, ann_file='{{ fileDirname }}/membrane_train.txt', pipeline=train_pipeline
        ),
    ),
)
val_dataloader = dict(
    batch_size=1,
    num_workers=1,
    persistent_workers=True,
    sampler=dict(type='DefaultSampler', shuffle=False),
    dataset=dict(
        **dataset,
        ann_file='{{ fileDirname }}/membrane_val.txt',
        test_mode=True,
        pipeline=test_pipeline,
    ),
)
test_dataloader = val_dataloader
val_evaluator = dict(type='mmmuse.ClassIoUMetric')
test_evaluator = val_evaluator
