"""The networks of the paper have the published sizes, in both ways of counting."""

import functools
from pathlib import Path
from unittest import mock

import pytest
import torch
from mmengine.config import Config
from mmpretrain import get_model

from mmmuse.backbones import TruncatedBackbone
from mmmuse.export.complexity import paper_complexity
from mmmuse.export.data import image_shape
from mmmuse.registry import MODELS

CONFIGS = Path(__file__).resolve().parents[2] / 'configs'

# Parameters at 100 classes, as published.
PARAMS = {
    'resnet18_cifar100': 11_220_132,
    'resnet34_cifar100': 21_328_292,
    'resnet50_cifar100': 23_705_252,
    'resnet101_cifar100': 42_697_380,
    'resnet152_cifar100': 58_341_028,
    'nasnet_cifar100': 5_221_624,
    'densenet121_cifar100': 7_048_548,
}
# Table 3: million parameters and "FLOPs" of the full network; the module where it is cut; the same
# of the truncated network. More digits than the paper prints, where they are known. The 0.84 of EfficientNet-B0 is
# 0.8356 here, 0.52 % less but the same in the digits that are given.
TABLE_3 = {
    'vgg19_cifar100': (20.02, 20499, 3, 2.33, 2380),
    'resnet18_cifar100': (11.16, 256, 3, 2.77, 248),
    'resnet34_cifar100': (21.26, 393, 3, 8.15, 380),
    'resnet50_cifar100': (23.45, 432.7, 2, 1.43, 370),
    'resnet101_cifar100': (42.39, 508.5, 2, 1.43, 370),
    'resnet152_cifar100': (57.98, 637.7, 2, 2.54, 441),
    'nasnet_cifar100': (5.08, 240.8, 3, 1.86, 237.6),
    'efficientnet-b0_cifar100': (3.97, 453.8, 2, 0.84, 289.6),
    'resnet34_tinyimagenet': (21.26, 1543, 3, 8.15, 1520),
    'efficientnet-b0_tinyimagenet': (3.97, 453.8, 2, 0.84, 289.6),
}


@pytest.mark.parametrize('name', PARAMS)
def test_a_network_has_the_published_number_of_parameters(name):
    # mmpretrain's ResNet reads the rates of its stochastic depth from a tensor.
    on_cpu = functools.partial(torch.linspace, device='cpu')
    with torch.device('meta'), mock.patch('torch.linspace', on_cpu):
        network = get_model(Config.fromfile(CONFIGS / 'baselines' / f'{name}.py'))
    assert sum(parameter.numel() for parameter in network.parameters()) == PARAMS[name]


@pytest.mark.slow
@pytest.mark.parametrize('name', TABLE_3)
def test_table_3_comes_out_within_half_a_percent(name):
    params, flops, cut, cut_params, cut_flops = TABLE_3[name]
    config = Config.fromfile(CONFIGS / 'muse' / f'{name}_mi_x_si.py')
    size = image_shape(config)[1:]
    backbone = MODELS.build(config.model.student.backbone)
    full = paper_complexity(backbone, size)
    end = config.model.taps.modules[cut - 1].removeprefix('backbone.')
    compressed = paper_complexity(TruncatedBackbone(backbone, end), size)
    assert full.params / 1e6 == pytest.approx(params, rel=0.005)
    assert full.flops / 1e6 == pytest.approx(flops, rel=0.005)
    if name.startswith('efficientnet'):
        assert f'{compressed.params / 1e6:.2f}' == f'{cut_params:.2f}'
    else:
        assert compressed.params / 1e6 == pytest.approx(cut_params, rel=0.005)
    assert compressed.flops / 1e6 == pytest.approx(cut_flops, rel=0.005)


@pytest.mark.slow
@pytest.mark.parametrize(
    ('name', 'size', 'grid'),
    [
        ('efficientnet-b0-32_cifar100', 32, (2, 2)),
        ('efficientnet-b0_cifar100', 64, (2, 2)),
        ('densenet121_cifar100', 32, (4, 4)),
        ('vgg19_cifar100', 32, (1, 1)),
    ],
)
def test_a_last_map_has_the_grid_of_its_strides(name, size, grid):
    network = get_model(Config.fromfile(CONFIGS / 'baselines' / f'{name}.py')).eval()
    with torch.no_grad():
        (feature,) = network.backbone(torch.zeros(1, 3, size, size))
    assert feature.shape[2:] == grid
