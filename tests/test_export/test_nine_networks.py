"""Exit 3 of each of the paper's nine networks gives the same logits in every form.

The form of a network is one of its graph. The widths of ResNets and DenseNet do not change it, nor does
the size of the images, nor how often a stage repeats a block (``shallow_networks``).
"""

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple
from unittest import mock

import pytest
import torch
from mmengine.config import Config
from mmpretrain.models import EfficientNet, ResNet
from torch import Tensor

from mmmuse.checkpoints.runner_keys import runner_keys
from mmmuse.export.data import image_shape
from mmmuse.export.exit_network import exit_logits, exit_network, exit_network_config
from mmmuse.export.formats import save_onnx, save_program
from mmmuse.export.onnx_modules import Logits
from mmmuse.export.program import Program
from mmmuse.export.standalone import write_standalone

from ..conftest import needs_torch
from ..test_configs import narrow
from . import shallow_networks
from .conftest import CONFIGS, settled
from .shallow_networks import make_shallow

pytestmark = pytest.mark.slow

NETWORKS = [
    'vgg19_cifar100',
    'resnet18_cifar100',
    'resnet34_cifar100',
    'resnet50_cifar100',
    'resnet101_cifar100',
    'resnet152_cifar100',
    'densenet121_cifar100',
    'nasnet_cifar100',
    'efficientnet-b0_cifar100',
]

# Run where mmmuse cannot be imported.
MMPRETRAIN_ALONE = """
import runpy
import sys
import torch
sys.modules['mmmuse'] = None
sys.modules['mmdet'] = None  # Its import takes long, and mmpretrain does without.
from mmpretrain import get_model
runpy.run_path(sys.argv[1])['make_shallow']()
for folder in sys.argv[2:]:
    model = get_model(f'{folder}/config.py', pretrained=f'{folder}/checkpoint.pth').eval()
    with torch.no_grad():
        torch.save(model(torch.load(f'{folder}/images.pt')), f'{folder}/logits.pt')
"""


class Exported(NamedTuple):
    folder: Path
    images: Tensor
    logits: Tensor
    program: Program


def shallow(config: Config) -> Config:
    """Take few layers of each dense block, and one of the normal cells in a row of a NASNet."""
    backbone = config.model.student.backbone
    if 'DenseNet' in backbone.type:
        backbone.arch.depths = [2, 1, 1, 1]
        config.model.student.head.in_channels = 18
    if 'NASNet' in backbone.type:
        backbone.num_cells = 1
        config.model.taps.modules = [f'backbone.cells.{cell}[0]' for cell in (1, 2, 3)]
    if 'EfficientNet' in backbone.type:
        modules = config.model.taps.modules
        config.model.taps.modules = [*modules[:2], 'backbone.layers.5.0']
    return config


@pytest.fixture(scope='module', autouse=True)
def _shallow() -> Iterator[None]:
    with mock.patch.dict(ResNet.arch_settings), mock.patch.dict(EfficientNet.layer_settings):
        make_shallow()
        yield


@pytest.fixture(scope='module')
def exported(tmp_path_factory) -> dict[str, Exported]:
    exports = {}
    for name in NETWORKS:
        torch.manual_seed(0)
        config = shallow(narrow(Config.fromfile(CONFIGS / 'muse' / f'{name}_mi_x_si.py')))
        shape = (3, *(min(side, 64) for side in image_shape(config)[1:]))
        distiller = settled(config, shape)
        images = torch.randn(2, *shape)
        network = exit_network(config.model, distiller, 3)
        folder = tmp_path_factory.mktemp(name)
        model = exit_network_config(config.model, distiller, 3)
        write_standalone(folder, config, model, network.state_dict(), runner_keys(config), name)
        torch.save(images, folder / 'images.pt')
        logits = exit_logits(distiller, images)[2]
        exports[name] = Exported(folder, images, logits, Program(Logits(network), images))
    return exports


@pytest.fixture(scope='module')
def mmpretrains_logits(exported) -> dict[str, Tensor]:
    folders = [str(export.folder) for export in exported.values()]
    subprocess.run(
        [sys.executable, '-c', MMPRETRAIN_ALONE, shallow_networks.__file__, *folders], check=True
    )
    return {name: torch.load(export.folder / 'logits.pt') for name, export in exported.items()}


def assert_the_exits(own: Tensor, export: Exported) -> None:
    assert export.logits.std() > 1e-3  # Not the same for everything.
    assert (own - export.logits).abs().max() < 1e-4


@pytest.mark.parametrize('name', NETWORKS)
def test_in_mmpretrain_without_mmmuse(exported, mmpretrains_logits, name):
    assert_the_exits(mmpretrains_logits[name], exported[name])


@needs_torch('2.3', 'torch.export for batches of any size')
@pytest.mark.parametrize('name', NETWORKS)
def test_through_torch_export(exported, tmp_path, name):
    run = save_program(exported[name].program, tmp_path / 'network.pt2')
    with torch.no_grad():
        assert_the_exits(run(exported[name].images), exported[name])


@pytest.mark.parametrize('name', NETWORKS)
def test_in_onnxruntime(exported, tmp_path, name):
    pytest.importorskip('onnxruntime')
    run = save_onnx(exported[name].program, tmp_path / 'network.onnx', {})
    assert_the_exits(run(exported[name].images), exported[name])
