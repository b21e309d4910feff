import pytest
from mmengine.config import Config

from mmmuse.errors import ImageShapeError
from mmmuse.export.data import image_shape


def config_of(*pipeline: dict, kind: str = 'mmpretrain.CustomDataset', **config) -> Config:
    dataset = dict(type=kind, pipeline=list(pipeline))
    return Config(dict(test_dataloader=dict(dataset=dataset), **config))


@pytest.mark.parametrize(
    ('transform', 'shape'),
    [
        (dict(type='CenterCrop', crop_size=(64, 32)), (3, 32, 64)),  # Width and height.
        (dict(type='RandomCrop', crop_size=(64, 32)), (3, 64, 32)),
        (dict(type='Resize', scale=(64, 32)), (3, 32, 64)),
        (dict(type='ResizeEdge', scale=48), (3, 48, 48)),
    ],
)
def test_a_shape_has_the_order_of_its_transform(transform, shape):
    assert image_shape(config_of(dict(type='Resize', scale=96), transform)) == shape


def test_images_have_the_channels_of_the_model_the_data_or_the_mean():
    crop = dict(type='CenterCrop', crop_size=32)
    assert image_shape(config_of(crop, data_preprocessor=dict(mean=[127.0]))) == (1, 32, 32)
    model = dict(type='mmmuse.SelfDistiller', input_shape=[1, 64, 64])
    assert image_shape(config_of(crop, model=model)) == (1, 32, 32)
    cifar = config_of(kind='mmpretrain.CIFAR10', data_preprocessor=dict(mean=[127.0]))
    assert image_shape(cifar) == (3, 32, 32)
    assert image_shape(config_of(kind='CIFAR10', default_scope='mmpretrain')) == (3, 32, 32)
    one_mean = dict(model=dict(backbone=dict(in_channels=3)), data_preprocessor=dict(mean=[127.0]))
    assert image_shape(config_of(crop, **one_mean)) == (3, 32, 32)


def test_a_shape_that_nothing_says_is_not_guessed():
    with pytest.raises(ImageShapeError, match='the size of the images is not in the config'):
        image_shape(config_of())
