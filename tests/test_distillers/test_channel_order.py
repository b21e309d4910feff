"""Whether a teacher or a peer sees an image in the order of the channels that it was trained on."""

import pytest
import torch
from mmengine.config import Config
from mmengine.model import BaseDataPreprocessor, ImgDataPreprocessor
from mmpretrain.models.utils import ClsDataPreprocessor

from mmmuse.command_line.config import _inline_networks, _note_image_order, load_config
from mmmuse.distillers import InputConversion
from mmmuse.distillers.channel_order import relative_order
from mmmuse.errors import InputError
from mmmuse.registry import MODELS

from .transfer import network, offline

KD = dict(type='mmmuse.KDLoss', temperature=4)
RGB_MEAN, RGB_STD = [123.675, 116.28, 103.53], [58.395, 57.12, 57.375]
BGR_MEAN, BGR_STD = RGB_MEAN[::-1], [1.0, 1.0, 1.0]
RGB = dict(type='ClsDataPreprocessor', mean=RGB_MEAN, std=RGB_STD, to_rgb=True)
CAFFE = dict(type='ClsDataPreprocessor', mean=BGR_MEAN, std=BGR_STD)
CIFAR = dict(type='ClsDataPreprocessor', mean=[129.3, 124.1, 112.4], std=[68.2, 65.4, 70.4])


def images(*shape: int) -> torch.Tensor:
    generator = torch.Generator().manual_seed(0)
    return torch.randint(0, 256, (2, 3, *shape), generator=generator).float()


def preprocessed(config: dict, loaded: torch.Tensor) -> torch.Tensor:
    """What a preprocessor gives its network, computed from its config alone."""
    swapped = loaded.flip(1) if config.get('to_rgb') else loaded
    mean, std = (torch.tensor(config[name]).view(3, 1, 1) for name in ('mean', 'std'))
    return (swapped - mean) / std


@pytest.mark.parametrize(
    ('mine', 'its'), [(RGB, CAFFE), (CAFFE, RGB), (RGB, RGB), (CAFFE, CAFFE), (CIFAR, CIFAR)]
)
def test_a_teacher_sees_what_its_own_preprocessor_makes_of_the_loaded_images(mine, its):
    distiller = offline(
        KD,
        student=network(data_preprocessor=mine),
        teacher=MODELS.build(network(6, data_preprocessor=its)),
    )
    loaded = images(16, 16)
    found = distiller.teacher(preprocessed(mine, loaded)).logits
    torch.testing.assert_close(
        found, distiller.teacher.model(preprocessed(its, loaded)), rtol=1e-4, atol=1e-4
    )


def test_a_peer_sees_what_its_own_preprocessor_makes_of_the_loaded_images():
    peers = dict(
        a=dict(model=network(data_preprocessor=RGB), taps=dict(logits='head')),
        b=dict(model=network(data_preprocessor=CAFFE), taps=dict(logits='head')),
    )
    distiller = MODELS.build(dict(type='mmmuse.OnlineDistiller', peers=peers, losses=[KD]))
    loaded = images(16, 16)
    found = distiller.conversions['b'](preprocessed(RGB, loaded))
    torch.testing.assert_close(found, preprocessed(CAFFE, loaded), rtol=1e-4, atol=1e-3)


def of(config: dict) -> ClsDataPreprocessor:
    return MODELS.build({**config, '_scope_': 'mmpretrain'})


@pytest.mark.parametrize(
    ('mine', 'its', 'loaded', 'other', 'order'),
    [
        # Files (BGR) in both, or the same memory (RGB) in both.
        (RGB, CAFFE, 'bgr', 'bgr', 'reversed'),
        (CAFFE, CAFFE, 'bgr', 'bgr', 'same'),
        (CIFAR, CIFAR, 'rgb', 'rgb', 'same'),
        # A student on CIFAR, whose arrays are RGB, and a teacher of ImageNet's files.
        (CIFAR, RGB, 'rgb', 'bgr', 'same'),
        (CIFAR, CAFFE, 'rgb', 'bgr', 'reversed'),
        (RGB, CIFAR, 'bgr', 'rgb', 'same'),
        (CAFFE, CIFAR, 'bgr', 'rgb', 'reversed'),
    ],
)
def test_with_both_pipelines_the_order_is_known(mine, its, loaded, other, order):
    assert relative_order(of(mine), of(its), loaded, other) == order


@pytest.mark.parametrize('loaded', [None, 'rgb'])
@pytest.mark.parametrize('its', [RGB, CAFFE])
def test_a_teacher_of_unknown_data_whose_mean_contradicts_is_refused(its, loaded):
    with pytest.raises(InputError, match=r'RGB or BGR cannot be known.*Set channel_order='):
        relative_order(of(CIFAR), of(its), loaded, None)


def test_one_that_swaps_against_images_from_memory_is_refused_if_no_mean_says_more():
    equal = dict(RGB, mean=[127.5] * 3, std=[127.5] * 3)
    with pytest.raises(InputError, match='cannot be known'):
        relative_order(of(CIFAR), of(equal), 'rgb', None)
    assert relative_order(of(CIFAR), of(equal), 'rgb', 'bgr') == 'same'
    assert relative_order(of(CAFFE), of(equal), 'bgr', None) == 'reversed'


class OwnPreprocessor(BaseDataPreprocessor):
    """It does not say what it does with the channels."""


def test_a_preprocessor_that_does_not_say_its_order_is_refused():
    for pair in ((OwnPreprocessor(), of(RGB)), (of(RGB), OwnPreprocessor())):
        with pytest.raises(InputError, match=r"OwnPreprocessor .* is not known: set .*='same'"):
            relative_order(*pair)
        assert InputConversion(*pair, channel_order='same').reverse is False
        assert InputConversion(*pair, channel_order='reversed').reverse is True


def test_mmengines_preprocessor_in_either_direction():
    swapping = ImgDataPreprocessor(RGB_MEAN, RGB_STD, bgr_to_rgb=True)
    other_way = ImgDataPreprocessor(BGR_MEAN, BGR_STD, rgb_to_bgr=True)
    plain = ImgDataPreprocessor(BGR_MEAN, BGR_STD)
    assert relative_order(swapping, plain) == 'reversed'
    assert relative_order(plain, swapping) == 'reversed'
    assert relative_order(swapping, other_way, 'bgr', 'rgb') == 'reversed'
    assert relative_order(swapping, plain, 'bgr', 'rgb') == 'same'


def test_a_teacher_of_raw_pixels_sees_raw_pixels():
    """YOLOX: its preprocessor only pads, and the student's images are normalised."""
    conversion = InputConversion(of(RGB), ImgDataPreprocessor())
    loaded = images(8, 8)
    torch.testing.assert_close(conversion(preprocessed(RGB, loaded)), loaded, rtol=1e-4, atol=1e-3)


def test_an_option_decides():
    assert InputConversion(of(RGB), of(CAFFE), channel_order='same').reverse is False
    assert InputConversion(of(CAFFE), of(CAFFE), channel_order='reversed').reverse is True


def test_a_whole_config_of_a_teacher_says_what_it_loads(tmp_path):
    weights = tmp_path / 'teacher.pth'
    torch.save(MODELS.build(network(6)).state_dict(), weights)
    loads = dict(dataset=dict(type='CustomDataset', pipeline=[dict(type='LoadImageFromFile')]))
    teacher = dict(
        model=network(6),
        data_preprocessor=RGB,
        train_dataloader=loads,
        default_scope='mmpretrain',
    )
    options = dict(
        student=network(data_preprocessor=CIFAR), teacher=teacher, teacher_checkpoint=str(weights)
    )
    assert offline(KD, image_order='rgb', **options).teacher.conversion.reverse is False
    assert offline(KD, image_order='bgr', **options).teacher.conversion.reverse is True


def test_the_commands_say_what_the_configs_load(tmp_path):
    config = load_config('configs/offline/resnet56-resnet20_cifar100_kd.py', {})
    assert (config.model.image_order, config.model.teacher_image_order) == ('rgb', 'rgb')
    mine = tmp_path / 'mine.py'
    mine.write_text(
        "_base_ = 'mmdet::retinanet/retinanet_r18_fpn_1x_coco.py'\n"
        "model = dict(_delete_=True, type='mmmuse.OfflineDistiller', student=_base_.model,\n"
        "    teacher='mmpretrain::resnet/resnet18_8xb16_cifar10.py', teacher_checkpoint='x.pth',\n"
        "    taps=dict(last='backbone.layer4'), losses=[dict(type='mmmuse.CRDLoss')])\n"
    )
    config = load_config(str(mine), {})
    assert (config.model.image_order, config.model.teacher_image_order) == ('bgr', 'rgb')


def test_a_distiller_of_a_users_own_gets_no_option_that_it_may_lack(tmp_path):
    mine = tmp_path / 'mine.py'
    mine.write_text(
        "_base_ = 'mmpretrain::resnet/resnet18_8xb16_cifar10.py'\n"
        "model = dict(_delete_=True, type='OwnDistiller', student=_base_.model,\n"
        "    teacher='mmpretrain::resnet/resnet18_8xb16_cifar10.py')\n"
    )
    config = Config.fromfile(mine)
    _inline_networks(config, str(mine), {})
    _note_image_order(config)
    assert set(config.model) == {'type', 'student', 'teacher'}
