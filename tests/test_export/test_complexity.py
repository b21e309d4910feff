import pytest
from mmcv.cnn.bricks import Conv2dAdaptivePadding
from torch import nn

from mmmuse.errors import InputError
from mmmuse.export.complexity import (
    Complexity,
    check_image_shape,
    multiply_adds,
    paper_complexity,
    real_complexity,
)

from ..test_distillers.detectors import built, detector, detr, faster_rcnn


def test_real_multiply_adds_are_those_of_the_forward():
    network = nn.Sequential(nn.Conv2d(3, 8, 31, bias=False), nn.Flatten(), nn.Linear(32, 5))
    # 2 x 2 x 8 outputs of 3 x 31 x 31 products, then 32 x 5.
    kernel = 8 * 3 * 31 * 31
    assert real_complexity(network, (3, 32, 32)) == Complexity(kernel + 165, 4 * kernel + 160)


def test_the_multiply_adds_of_a_part_are_those_of_it_alone():
    network = nn.Sequential(nn.Sequential(nn.Conv2d(3, 4, 3, bias=False)), nn.Conv2d(4, 2, 1))
    counted = multiply_adds(network, (3, 8, 8), ['0', '0.0'])
    part = 36 * 4 * 27  # 6 x 6 x 4 outputs of 3 x 3 x 3 products.
    assert counted == {'': part + 36 * 2 * 4, '0': part, '0.0': part}
    assert counted['0'] == real_complexity(network[0], (3, 8, 8)).flops


def test_the_papers_count_halves_at_every_strided_convolution_and_at_no_pool():
    network = nn.ModuleDict(
        dict(
            conv=nn.Conv2d(3, 4, 3, stride=2, padding=1, bias=False),
            pool=nn.MaxPool2d(2),
            shortcut=nn.Conv2d(3, 4, 1, stride=2),
            last=nn.Conv2d(4, 2, 3, padding='same'),
            linear=nn.Linear(10, 10),
        )
    )
    params = 108 + (12 + 4) + (72 + 2)
    flops = 108 * 16 * 8 + 12 * 8 * 4 + 72 * 8 * 4
    assert paper_complexity(network, (32, 16)) == Complexity(params, flops)


@pytest.mark.parametrize(('size', 'length'), [(7, 4), (8, 4)])
def test_the_papers_count_knows_padding_that_adapts(size, length):
    conv = Conv2dAdaptivePadding(1, 1, 3, stride=2, bias=False)
    assert paper_complexity(conv, (size, size)).flops == 9 * length**2


@pytest.mark.parametrize('shape', [(1, 32, 32), (3, 2, 2), (3, 0, -1)])
def test_images_that_a_network_does_not_take_are_refused(shape):
    with pytest.raises(InputError, match='shape'):
        real_complexity(nn.Conv2d(3, 4, 5), shape)


@pytest.mark.parametrize(
    'config', [detector(), detr(), faster_rcnn()], ids=lambda each: each['type']
)
def test_a_detector_receives_data_samples(config):
    network = built(config)
    counted = multiply_adds(network, (3, 64, 96), ['backbone'])
    assert counted[''] > counted['backbone'] > 0
    assert not network._forward_pre_hooks


@pytest.mark.parametrize(
    ('error', 'message'),
    [
        (AssertionError(), r'shape \(3, 8, 8\): AssertionError$'),
        (RuntimeError('too small\nat conv'), r'shape \(3, 8, 8\): too small$'),
        (
            TypeError('forward() needs texts'),
            'Fails does not run on a batch of images alone, .* texts',
        ),
    ],
)
def test_an_error_of_a_network_is_one_line(error, message):
    class Fails(nn.Conv2d):
        def forward(self, images):
            raise error

    with pytest.raises(InputError, match=message):
        check_image_shape(Fails(3, 4, 1), (3, 8, 8))


def test_an_error_of_the_networks_own_is_not_one_of_the_shape():
    class Refuses(nn.Conv2d):
        def forward(self, images):
            raise InputError('an operator is missing')

    with pytest.raises(InputError, match='an operator is missing'):
        multiply_adds(Refuses(3, 4, 1), (3, 8, 8))
