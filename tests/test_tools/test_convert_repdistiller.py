"""Files laid out as RepDistiller's become our networks' weights, and give the same logits."""

from datetime import date
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from mmengine.runner import load_checkpoint
from mmpretrain.registry import MODELS
from torch import nn

from mmmuse.checkpoints.repdistiller import NETWORKS
from mmmuse.command_line.config import load_config

ROOT = Path(__file__).resolve().parents[2]


# The three families, written from their description, with the names that RepDistiller gives.
class BasicBlock(nn.Module):
    def __init__(self, inside: int, out: int, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(inside, out, 3, stride, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(out)
        self.conv2 = nn.Conv2d(out, out, 3, 1, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(out)
        self.downsample = nn.Identity()
        if inside != out:
            projection = nn.Conv2d(inside, out, 1, stride, bias=False)
            self.downsample = nn.Sequential(projection, nn.BatchNorm2d(out))

    def forward(self, x):
        out = self.bn2(self.conv2(self.bn1(self.conv1(x)).relu()))
        return (out + self.downsample(x)).relu()


class ResNet(nn.Module):
    def __init__(self, depth: int) -> None:
        super().__init__()
        blocks = (depth - 2) // 6
        self.conv1, self.bn1 = nn.Conv2d(3, 16, 3, 1, 1, bias=False), nn.BatchNorm2d(16)
        self.layer1 = nn.Sequential(*(BasicBlock(16, 16, 1) for _ in range(blocks)))
        for name, width in (('layer2', 32), ('layer3', 64)):
            rest = (BasicBlock(width, width, 1) for _ in range(blocks - 1))
            self.add_module(name, nn.Sequential(BasicBlock(width // 2, width, 2), *rest))
        self.fc = nn.Linear(64, 100)

    def forward(self, x):
        x = self.layer3(self.layer2(self.layer1(self.bn1(self.conv1(x)).relu())))
        return self.fc(x.mean((2, 3)))


class PreActivation(nn.Module):
    def __init__(self, inside: int, out: int, stride: int) -> None:
        super().__init__()
        self.bn1, self.conv1 = nn.BatchNorm2d(inside), nn.Conv2d(inside, out, 3, stride, 1)
        self.bn2, self.conv2 = nn.BatchNorm2d(out), nn.Conv2d(out, out, 3, 1, 1)
        self.conv1.bias = self.conv2.bias = self.convShortcut = None
        if inside != out:
            self.convShortcut = nn.Conv2d(inside, out, 1, stride, bias=False)

    def forward(self, x):
        active = self.bn1(x).relu()
        if self.convShortcut is not None:
            x = self.convShortcut(active)
        return x + self.conv2(self.bn2(self.conv1(active)).relu())


class Group(nn.Module):
    def __init__(self, blocks: int, inside: int, out: int, stride: int) -> None:
        super().__init__()
        rest = (PreActivation(out, out, 1) for _ in range(blocks - 1))
        self.layer = nn.Sequential(PreActivation(inside, out, stride), *rest)


class WideResNet(nn.Module):
    def __init__(self, depth: int, factor: int) -> None:
        super().__init__()
        blocks, width = (depth - 4) // 6, 16 * factor
        self.conv1 = nn.Conv2d(3, 16, 3, 1, 1, bias=False)
        self.block1 = Group(blocks, 16, width, 1)
        self.block2 = Group(blocks, width, 2 * width, 2)
        self.block3 = Group(blocks, 2 * width, 4 * width, 2)
        self.bn1, self.fc = nn.BatchNorm2d(4 * width), nn.Linear(4 * width, 100)

    def forward(self, x):
        x = self.conv1(x)
        for group in (self.block1, self.block2, self.block3):
            x = group.layer(x)
        return self.fc(self.bn1(x).relu().mean((2, 3)))


class ShuffleUnit(nn.Module):
    def __init__(self, inside: int, out: int, stride: int) -> None:
        super().__init__()
        self.stride, self.groups = stride, 1 if inside == 24 else 3
        width = out // 4
        self.conv1 = nn.Conv2d(inside, width, 1, groups=self.groups, bias=False)
        self.conv2 = nn.Conv2d(width, width, 3, stride, 1, groups=width, bias=False)
        self.conv3 = nn.Conv2d(width, out, 1, groups=3, bias=False)
        self.bn1, self.bn2 = nn.BatchNorm2d(width), nn.BatchNorm2d(width)
        self.bn3 = nn.BatchNorm2d(out)

    def forward(self, x):
        out = self.bn1(self.conv1(x)).relu()
        # First each group's channel 0, then each group's channel 1, ...
        n, channels, height, width = out.shape
        out = out.view(n, self.groups, channels // self.groups, height, width).transpose(1, 2)
        out = self.bn2(self.conv2(out.reshape(n, channels, height, width))).relu()
        out = self.bn3(self.conv3(out))
        if self.stride == 2:
            return torch.cat([out, F.avg_pool2d(x, 3, 2, 1)], 1).relu()
        return (out + x).relu()


class ShuffleV1(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv1, self.bn1 = nn.Conv2d(3, 24, 1, bias=False), nn.BatchNorm2d(24)
        inside = 24
        for name, out, blocks in (('layer1', 240, 4), ('layer2', 480, 8), ('layer3', 960, 4)):
            rest = (ShuffleUnit(out, out, 1) for _ in range(blocks - 1))
            self.add_module(name, nn.Sequential(ShuffleUnit(inside, out - inside, 2), *rest))
            inside = out
        self.linear = nn.Linear(960, 100)

    def forward(self, x):
        x = self.bn1(self.conv1(x)).relu()
        x = self.layer3(self.layer2(self.layer1(x)))
        return self.linear(x.mean((2, 3)))


REFERENCES = {
    'resnet20': lambda: ResNet(20),
    'resnet32': lambda: ResNet(32),
    'resnet56': lambda: ResNet(56),
    'resnet110': lambda: ResNet(110),
    'wrn_40_2': lambda: WideResNet(40, 2),
    'ShuffleV1': ShuffleV1,
}


def trained(network: str) -> nn.Module:
    """A reference in eval mode, no two of whose normalisations are alike."""
    reference = REFERENCES[network]()
    for module in reference.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.running_mean.normal_(0, 0.1)
            module.running_var.uniform_(0.5, 2)
            nn.init.uniform_(module.weight, 0.5, 1)
            nn.init.normal_(module.bias, 0, 0.1)
            module.num_batches_tracked.fill_(7)
    return reference.eval()


def saved(folder: Path, network: str, **content) -> tuple[Path, nn.Module]:
    """A file of RepDistiller's layout, and the network in it."""
    reference = trained(network)
    optimizer = torch.optim.SGD(reference.parameters(), 0.05, momentum=0.9).state_dict()
    layout = dict(
        epoch=240, model=reference.state_dict(), best_acc=torch.tensor(72.34), optimizer=optimizer
    )
    path = folder / 'ckpt_epoch_240.pth'
    torch.save({**layout, **content}, path)
    return path, reference


def ours(network: str) -> nn.Module:
    config = load_config(str(ROOT / f'configs/baselines/{NETWORKS[network].config}.py'), {})
    return MODELS.build(config.model).eval()


@pytest.mark.parametrize('network', NETWORKS)
def test_a_converted_network_gives_the_same_logits(tool, tmp_path, lines_of_progress, network):
    source, reference = saved(tmp_path, network)
    out = tmp_path / 'converted.pth'
    finished = tool('convert_repdistiller.py', source, out, '--network', network)
    assert finished.code == 0, finished.err
    assert 'comparing the weights with the network: ' in finished.err
    assert f'configs/baselines/{NETWORKS[network].config}.py' in finished.out
    model = ours(network)
    content = load_checkpoint(model, str(out), map_location='cpu', strict=True)
    assert content['meta']['dataset_meta']['classes'][:2] == ('apple', 'aquarium_fish')
    images = torch.randn(3, 3, 32, 32)
    # In float64: as many layers as these make more of float32's rounding than 1e-5.
    with torch.no_grad():
        expected = reference.double()(images.double())
        logits = model.double()(images.double(), mode='tensor')
    assert expected.std() > 0.01
    torch.testing.assert_close(logits, expected, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize('best_acc', [72.34, torch.tensor(72.34)])
def test_the_best_accuracy_may_be_a_number_or_a_tensor(tool, tmp_path, best_acc):
    source, _ = saved(tmp_path, 'resnet20', best_acc=best_acc)
    finished = tool(
        'convert_repdistiller.py', source, tmp_path / 'out.pth', '--network', 'resnet20'
    )
    assert finished.code == 0, finished.err


def test_a_file_that_holds_more_than_weights_is_refused_unless_trusted(tool, only_error, tmp_path):
    source, _ = saved(tmp_path, 'resnet20', best_acc=date(2020, 1, 1))
    out = tmp_path / 'out.pth'
    arguments = ('convert_repdistiller.py', source, out, '--network', 'resnet20')
    assert 'pass --trust-checkpoint' in only_error(tool(*arguments))
    assert not out.exists()
    assert tool(*arguments, '--trust-checkpoint').code == 0
    assert out.exists()


def test_a_file_of_another_network_is_refused_with_the_tensors_that_differ(
    tool, only_error, tmp_path
):
    source, _ = saved(tmp_path, 'resnet20')
    out = tmp_path / 'out.pth'
    for network, tensor in (('resnet32', 'backbone.layer1.3.bn1.bias'), ('wrn_40_2', 'bn1.bias')):
        line = only_error(tool('convert_repdistiller.py', source, out, '--network', network))
        assert 'of another network; these tensors differ' in line
        assert tensor in line
    assert not out.exists()


@pytest.mark.parametrize(
    'content', [dict(model=None), dict(model={}), dict(model={'conv1.weight': 3})]
)
def test_a_file_of_another_layout_is_refused(tool, only_error, tmp_path, content):
    source, _ = saved(tmp_path, 'resnet20', **content)
    line = only_error(
        tool('convert_repdistiller.py', source, tmp_path / 'out', '--network', 'resnet20')
    )
    assert "not a checkpoint of RepDistiller: the file has no 'model' of named tensors" in line


def test_a_file_that_is_missing_or_cut_short_is_named(tool, only_error, tmp_path):
    source, _ = saved(tmp_path, 'resnet20')
    arguments = (tmp_path / 'out.pth', '--network', 'resnet20')
    missing = tmp_path / 'none.pth'
    line = only_error(tool('convert_repdistiller.py', missing, *arguments))
    assert f'no checkpoint file {missing}' in line
    source.write_bytes(source.read_bytes()[:-1000])
    line = only_error(tool('convert_repdistiller.py', source, *arguments))
    assert f'{source} is truncated' in line
    assert [path.name for path in tmp_path.iterdir()] == [source.name]


def test_a_file_that_is_there_already_is_left_as_it_is(tool, only_error, tmp_path):
    source, _ = saved(tmp_path, 'resnet20')
    out = tmp_path / 'out.pth'
    out.write_text('mine')
    line = only_error(tool('convert_repdistiller.py', source, out, '--network', 'resnet20'))
    assert f'{out} already exists' in line
    assert out.read_text() == 'mine'
    nowhere = tmp_path / 'none' / 'out.pth'
    line = only_error(tool('convert_repdistiller.py', source, nowhere, '--network', 'resnet20'))
    assert f'no folder {nowhere.parent} to write into' in line
