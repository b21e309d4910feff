import pytest
import torch
from mmengine.config import Config
from torch import nn

from mmmuse.checkpoints.network_config import packaged_config
from mmmuse.tapping.dry_run import blank_image_shapes
from mmmuse.tapping.image_size import config_channels, config_size, config_test_size, declared_size


def trained_on(*pipeline: dict, **config) -> Config:
    return Config(dict(train_dataloader=dict(dataset=dict(pipeline=list(pipeline))), **config))


@pytest.mark.parametrize(
    ('name', 'size'),
    [
        ('mmpretrain::resnet/resnet18_8xb32_in1k.py', (224, 224)),
        ('mmpretrain::resnet/resnet18_8xb16_cifar10.py', (32, 32)),
        ('mmpretrain::lenet/lenet5_mnist.py', (32, 32)),
        ('mmpretrain::inception_v3/inception-v3_8xb32_in1k.py', (299, 299)),
        ('mmpretrain::efficientnet_v2/efficientnetv2-s_8xb32_in1k-384px.py', (300, 300)),
        ('mmpretrain::swin_transformer_v2/swinv2-tiny-w8_16xb64_in1k-256px.py', (256, 256)),
        ('mmdet::ssd/ssd300_coco.py', (300, 300)),
        ('mmdet::ssd/ssd512_coco.py', (512, 512)),
        ('mmdet::yolox/yolox_tiny_8xb8-300e_coco.py', (416, 416)),
        ('mmdet::yolo/yolov3_d53_8xb8-320-273e_coco.py', (320, 320)),
        # In landscape format, and padded to multiples of 32.
        ('mmdet::faster_rcnn/faster-rcnn_r50_fpn_1x_coco.py', (800, 1344)),
        ('mmdet::grounding_dino/grounding_dino_r50_scratch_8xb2_1x_coco.py', (800, 1333)),
    ],
)
def test_the_size_of_a_config_is_that_of_its_pipeline(name, size):
    assert config_size(packaged_config(name)) == size


def test_pairs_are_read_in_the_order_of_their_transform():
    assert config_size(trained_on(dict(type='Resize', scale=(64, 32)))) == (32, 64)
    assert config_size(trained_on(dict(type='RandomResizedCrop', scale=(64, 32)))) == (64, 32)


def test_the_last_transform_of_the_pipeline_counts():
    crop = dict(type='mmpretrain.CenterCrop', crop_size=48)
    assert config_size(trained_on(dict(type='ResizeEdge', scale=64), crop)) == (48, 48)


def test_images_are_tested_in_the_size_of_the_test_pipeline():
    config = trained_on(dict(type='RandomResizedCrop', scale=64))
    assert config_test_size(config) is None
    pipeline = [dict(type='CenterCrop', crop_size=(80, 72))]
    config.val_dataloader = dict(dataset=dict(pipeline=pipeline))
    assert config_test_size(config) == (72, 80)


def test_a_preprocessor_that_resizes_replaces_the_size_of_the_pipeline():
    resized = dict(type='mmmuse.BatchedDataPreprocessor', resize=48)
    config = trained_on(dict(type='Resize', scale=40), data_preprocessor=resized)
    assert config_size(config) == config_test_size(config) == (48, 48)


def test_a_config_that_says_nothing_of_channels_has_none():
    assert config_channels(Config(dict())) is None
    assert config_channels(Config(dict(data_preprocessor=dict(mean=[1.0])))) == 1


def test_of_several_views_the_first_counts():
    views = [[dict(type='RandomResizedCrop', scale=64)], [dict(type='RandomResizedCrop', scale=32)]]
    views = dict(type='MultiView', transforms=views, num_views=[2, 6])
    load = dict(type='LoadImageFromFile')
    assert config_size(trained_on(load, views, dict(type='PackInputs'))) == (64, 64)


def test_the_pipeline_of_a_wrapped_data_set_is_read():
    inner = dict(type='CIFAR10', pipeline=[dict(type='Resize', scale=40)])
    outer = dict(
        type='RepeatDataset', times=2, dataset=dict(type='ConcatDataset', datasets=[inner])
    )
    assert config_size(Config(dict(train_dataloader=dict(dataset=outer)))) == (40, 40)


@pytest.mark.parametrize('config', [dict(), dict(train_dataloader=None), dict(model=dict())])
def test_a_config_without_a_size_has_none(config):
    assert config_size(Config(config)) is None


def test_a_relative_crop_is_no_size():
    assert config_size(trained_on(dict(type='RandomCrop', crop_size=(0.5, 0.5)))) is None


def test_a_built_model_has_the_size_of_the_config_that_it_came_from():
    model = nn.Conv2d(3, 4, 3)
    assert declared_size(model) is None
    assert blank_image_shapes(model) == [(3, 64, 64), (3, 224, 224), (3, 512, 512)]
    model._config = trained_on(dict(type='Resize', scale=40))
    assert blank_image_shapes(model) == [(3, 40, 40)]


def test_a_built_model_has_the_size_to_which_its_preprocessor_resizes():
    model = nn.Conv2d(3, 4, 3)
    model.data_preprocessor = nn.Module()
    model.data_preprocessor.resize = 48
    assert declared_size(model) == (48, 48)


def test_the_images_have_the_channels_of_the_mean_that_the_preprocessor_subtracts():
    model = nn.Conv2d(3, 4, 3)
    model.data_preprocessor = nn.Module()
    model.data_preprocessor.mean = torch.zeros(1, 1, 1)
    assert blank_image_shapes(model)[0] == (1, 64, 64)
