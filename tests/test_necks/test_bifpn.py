import pytest
import torch
import torch.nn.functional as F
from torch import nn

from mmmuse.errors import InputError
from mmmuse.necks import BiFPN
from mmmuse.necks.bifpn import BiFPNLayer


def maps(channels=(4, 8, 16), sizes=(8, 4, 2), **options) -> list[torch.Tensor]:
    return [torch.randn(2, c, size, size, **options) for c, size in zip(channels, sizes)]


@pytest.mark.parametrize(('width', 'expected'), [(1.0, (4, 8, 16)), (2.0, (8, 16, 32))])
def test_every_level_keeps_its_grid_and_its_share_of_channels(width, expected):
    neck = BiFPN([4, 8, 16], width=width)
    assert neck.out_channels == expected
    shapes = [tuple(refined.shape) for refined in neck(maps())]
    assert shapes == [(2, c, size, size) for c, size in zip(expected, (8, 4, 2))]


@pytest.mark.parametrize('num_layers', [1, 2])
def test_every_parameter_gets_a_gradient_from_the_deepest_map_alone(num_layers):
    neck = BiFPN([4, 8, 16], num_layers=num_layers)
    neck(maps())[-1].square().sum().backward()
    assert [name for name, p in neck.named_parameters() if p.grad is None] == []


def test_a_layer_goes_up_and_then_down_as_in_efficientdet():
    layer = BiFPNLayer((2, 2, 2), dict(type='BN')).double().eval()
    for node in [*layer.top_down, *layer.bottom_up]:
        node.match = nn.Identity()
        node.conv = nn.Identity()
        nn.init.uniform_(node.weights, 0.5, 2.0)
    p3, p4, p5 = maps((2, 2, 2), dtype=torch.float64)

    def mean(weights, *values):
        return sum(w * value for w, value in zip(weights, values)) / (weights.sum() + 1e-4)

    def larger(x):
        return x.repeat_interleave(2, 2).repeat_interleave(2, 3)

    w = [node.weights.detach() for node in [*layer.top_down, *layer.bottom_up]]
    up4 = mean(w[1], larger(p5), p4)
    out3 = mean(w[0], larger(up4), p3)
    out4 = mean(w[2], F.max_pool2d(out3, 2), p4, up4)
    out5 = mean(w[3], F.max_pool2d(out4, 2), p5)
    for found, expected in zip(layer([p3, p4, p5]), (out3, out4, out5)):
        torch.testing.assert_close(found, expected)


def test_maps_of_any_sizes_meet():
    assert [map.shape[2] for map in BiFPN([4, 8, 16])(maps(sizes=(7, 7, 3)))] == [7, 7, 3]


def test_convolutions_of_three_pixels_are_depthwise():
    convs = [m for m in BiFPN([4, 8]).modules() if isinstance(m, nn.Conv2d)]
    assert {conv.groups == conv.in_channels for conv in convs if conv.kernel_size == (3, 3)} == {
        True
    }


@pytest.mark.parametrize(
    ('options', 'said'),
    [
        (dict(in_channels=[4]), 'in_channels is a list of integers of at least 1 with at least 2'),
        (dict(width=0), 'width is a number above 0, got 0'),
        (dict(width=-1.0), 'width is a number above 0, got -1.0'),
        (dict(num_layers=0), 'num_layers is an integer from 1 to 1000, got 0'),
    ],
)
def test_what_cannot_be_is_refused(options, said):
    with pytest.raises(InputError, match=f'BiFPN: {said}'):
        BiFPN(**{'in_channels': [4, 8], **options})


def test_another_number_of_maps_is_refused():
    with pytest.raises(InputError, match='3 levels and got 2'):
        BiFPN([4, 8, 16])(maps()[:2])
