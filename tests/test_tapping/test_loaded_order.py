import pytest

from mmmuse.checkpoints.network_config import packaged_config
from mmmuse.command_line.config import load_config
from mmmuse.tapping.loaded_order import loaded_order

LOAD = dict(type='LoadImageFromFile')
CIFAR = 'mmpretrain.CIFAR100'


def config(*pipeline: dict, dataset: str = 'CustomDataset') -> dict:
    return dict(train_dataloader=dict(dataset=dict(type=dataset, pipeline=list(pipeline))))


@pytest.mark.parametrize(
    ('of', 'order'),
    [
        (config(LOAD), 'bgr'),
        (config(dict(LOAD, imdecode_backend='pillow')), 'bgr'),
        (config(dict(LOAD, imdecode_backend='tifffile')), None),
        (config(dict(LOAD, color_type='grayscale')), None),
        (config(dict(LOAD, color_type='unchanged')), None),
        (config(LOAD, dict(type='NumpyToPIL', to_rgb=True)), 'rgb'),
        (config(LOAD, dict(type='NumpyToPIL')), 'bgr'),
        (
            config(
                LOAD, dict(type='MultiView', transforms=[[dict(type='NumpyToPIL', to_rgb=True)]])
            ),
            'rgb',
        ),
        (
            config(
                LOAD,
                dict(type='mmpretrain.NumpyToPIL', to_rgb=True),
                dict(type='mmpretrain.PILToNumpy', to_bgr=True),
            ),
            'bgr',
        ),
        (config(LOAD, dict(type='Normalize', mean=[1, 2, 3], std=[1, 1, 1])), 'rgb'),
        (config(LOAD, dict(type='Normalize', to_rgb=False)), 'bgr'),
        (config(dict(type='LoadMultiChannelImageFromFiles')), None),
        (config(dict(type='RandomFlip')), None),
        (config(dict(type='RandomFlip'), dataset=CIFAR), 'rgb'),
        (config(dict(type='NumpyToPIL', to_rgb=True), dataset=CIFAR), 'bgr'),
        (dict(), None),
    ],
)
def test_the_order_is_that_of_the_loader_and_what_follows(of, order):
    assert loaded_order(of) == order


def test_a_wrapped_data_set_loads_and_its_wrapper_changes():
    inner = config(LOAD)['train_dataloader']['dataset']
    outer = dict(
        type='MultiImageMixDataset',
        dataset=inner,
        pipeline=[dict(type='NumpyToPIL', to_rgb=True)],
    )
    assert loaded_order(dict(train_dataloader=dict(dataset=outer))) == 'rgb'
    joined = dict(type='ConcatDataset', datasets=[inner])
    assert loaded_order(dict(train_dataloader=dict(dataset=joined))) == 'bgr'


@pytest.mark.parametrize(
    ('path', 'order'),
    [
        ('configs/baselines/resnet20_cifar100.py', 'rgb'),
        ('configs/baselines/resnet18_tinyimagenet.py', 'bgr'),
        ('configs/detection/yolov5_n_bccd.py', 'bgr'),
        ('configs/demo/resnet18_digits.py', None),
    ],
)
def test_the_order_of_shipped_configs(path, order):
    assert loaded_order(load_config(path, {})) == order


@pytest.mark.parametrize(
    ('name', 'order'),
    [
        ('mmpretrain::resnet/resnet18_8xb32_in1k.py', 'bgr'),
        ('mmpretrain::resnet/resnet18_8xb16_cifar10.py', 'rgb'),
        ('mmdet::retinanet/retinanet_r50-caffe_fpn_1x_coco.py', 'bgr'),
    ],
)
def test_the_order_of_packaged_configs(name, order):
    assert loaded_order(packaged_config(name)) == order
