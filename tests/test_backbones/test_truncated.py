import pickle
from concurrent.futures import ThreadPoolExecutor
from copy import deepcopy

import pytest
import torch
from mmpretrain.registry import MODELS
from torch import nn

from mmmuse.backbones import TruncatedBackbone
from mmmuse.errors import InputError
from mmmuse.export.complexity import real_complexity
from mmmuse.tapping.taps import FeatureTaps

from ..conftest import needs_torch

SMALL = dict(type='ResNet_CIFAR', depth=18, stem_channels=4, base_channels=4)
BACKBONES = {
    'layer3': SMALL,
    'layer2.0': SMALL,
    'cells.4[0]': dict(type='mmmuse.NASNet', num_cells=4, channels=4, stem_channels=4),
    'layers.5.3': dict(type='EfficientNet', arch='b0'),
    'features.10': dict(type='VGG', depth=11, norm_cfg=dict(type='BN')),
    'transitions.1': dict(
        type='mmmuse.DenseNetCIFAR', arch=dict(growth_rate=4, depths=[2, 2, 2], init_channels=8)
    ),
    'layers.2': dict(
        type='VisionTransformer', arch='deit-tiny', img_size=32, patch_size=8, out_type='raw'
    ),
}


def still(backbone: nn.Module) -> nn.Module:
    """Put a backbone into eval mode; mmpretrain's return nothing from that."""
    backbone.eval()
    return backbone


@pytest.mark.slow
@pytest.mark.parametrize('end', BACKBONES)
def test_the_feature_is_that_of_the_whole_backbone(end):
    whole = still(MODELS.build(BACKBONES[end]))
    images = torch.randn(2, 3, 32, 32)
    taps = FeatureTaps(whole, [end])
    with taps, torch.no_grad():
        whole(images)
        expected = taps.pop()[end]
    taps.remove()
    before = sum(parameter.numel() for parameter in whole.parameters())
    truncated = still(TruncatedBackbone(whole, end))
    assert sum(parameter.numel() for parameter in truncated.parameters()) < before
    with torch.no_grad():
        (feature,) = truncated(images)
    assert torch.equal(feature, expected)


def test_what_lies_behind_is_not_there_and_names_stay():
    truncated = TruncatedBackbone(SMALL, 'layer2.0')
    names = {name for name, _ in truncated.body.named_children()}
    assert names == {'conv1', 'bn1', 'relu', 'layer1', 'layer2'}
    assert not any('layer2.1' in name for name in truncated.state_dict())
    whole = MODELS.build(SMALL)
    assert set(truncated.body.state_dict()) < set(whole.state_dict())


@pytest.mark.parametrize('end', ['layer3', 'cells.4[0]', 'transitions.1'])
def test_every_parameter_gets_a_gradient(end):
    truncated = TruncatedBackbone(BACKBONES[end], end)
    truncated(torch.randn(2, 3, 32, 32))[0].square().sum().backward()
    assert all(parameter.grad is not None for parameter in truncated.parameters())


def test_a_copy_is_a_backbone_of_its_own():
    truncated = still(TruncatedBackbone(SMALL, 'layer1'))
    images = torch.randn(2, 3, 16, 16)
    copy = deepcopy(truncated)
    nn.init.zeros_(truncated.body.conv1.weight)
    assert not torch.equal(copy(images)[0], truncated(images)[0])


def test_a_module_that_is_not_there_is_named_with_the_nearest():
    with pytest.raises(InputError, match=r"no module 'layer5'; nearest: 'layer\d'"):
        TruncatedBackbone(SMALL, 'layer5')


def test_a_module_that_the_input_does_not_come_to_is_refused():
    backbone = MODELS.build(SMALL)
    backbone.spare = nn.Conv2d(3, 3, 1)
    with pytest.raises(InputError, match="cannot end at 'spare': the forward does not reach"):
        TruncatedBackbone(backbone, 'spare')


def test_an_error_before_the_end_is_an_error():
    truncated = TruncatedBackbone(SMALL, 'layer1')
    with pytest.raises(RuntimeError, match='channels'):
        truncated(torch.randn(2, 5, 16, 16))


@needs_torch('2.3', 'torch.export for batches of any size')
def test_torch_export_takes_it_for_any_batch():
    truncated = still(TruncatedBackbone(SMALL, 'layer2'))
    batch = torch.export.Dim('batch')
    program = torch.export.export(
        truncated, (torch.randn(2, 3, 16, 16),), dynamic_shapes=({0: batch},), strict=False
    )
    images = torch.randn(5, 3, 16, 16)
    torch.testing.assert_close(program.module()(images), truncated(images))


def test_several_threads_share_one_network():
    truncated = still(TruncatedBackbone(SMALL, 'layer2'))
    batches = [torch.randn(2, 3, 16, 16) for _ in range(40)]
    with torch.no_grad():
        expected = [truncated(batch)[0] for batch in batches]

    def run(batch):
        with torch.no_grad():
            return truncated(batch)[0]

    with ThreadPoolExecutor(4) as pool:
        for own, single in zip(pool.map(run, batches), expected):
            torch.testing.assert_close(own, single)


SWIN = dict(
    type='SwinTransformer',
    arch=dict(embed_dims=4, depths=[2, 2, 2, 2], num_heads=[1, 1, 1, 1]),
    img_size=64,
    window_size=2,
    out_indices=(0, 1, 2, 3),
)
CONVNEXT = dict(type='ConvNeXt', arch=dict(depths=[1, 1, 2, 1], channels=[4, 4, 4, 4]))
VIT = dict(
    type='VisionTransformer',
    arch=dict(embed_dims=8, num_layers=4, num_heads=2, feedforward_channels=8),
    img_size=64,
    patch_size=16,
    out_type='raw',
)
FROZEN = [
    *((SMALL, f'layer{i}', stages) for i in (1, 2, 3) for stages in (2, 3, 4)),
    (SWIN, 'stages.0', 3),
    (SWIN, 'stages.2.blocks.0', 3),
    (CONVNEXT, 'stages.0', 2),
    (CONVNEXT, 'stages.2.0', 4),
    (VIT, 'layers.0', 2),
    (VIT, 'layers.2', 4),
    pytest.param(BACKBONES['features.10'], 'features.3', 4, marks=pytest.mark.slow),
    (dict(type='MobileNetV2', widen_factor=0.25), 'layer1', 4),
    pytest.param(BACKBONES['layers.5.3'], 'layers.1', 4, marks=pytest.mark.slow),
    (dict(type='mmmuse.WideResNet', depth=10, widen_factor=1), 'layer1', 3),
]


@pytest.mark.parametrize(('backbone', 'end', 'stages'), FROZEN)
def test_stages_after_the_end_may_be_frozen(backbone, end, stages):
    shape = (3, 64, 64)
    full = MODELS.build(dict(deepcopy(backbone), frozen_stages=stages))
    truncated = TruncatedBackbone(deepcopy(full), end, input_shape=shape)
    unfrozen = TruncatedBackbone(deepcopy(backbone), end, input_shape=shape)
    assert list(truncated.state_dict()) == list(unfrozen.state_dict())

    full.train()
    truncated.train()
    modules, parameters = dict(full.named_modules()), dict(full.named_parameters())
    for name, parameter in truncated.body.named_parameters():
        assert parameter.requires_grad == parameters[name].requires_grad
        module = name.rpartition('.')[0]
        assert truncated.body.get_submodule(module).training == modules[module].training

    taps = FeatureTaps(full, [end])
    images = torch.randn(2, *shape)
    with taps, torch.no_grad():
        still(full)(images)
        expected = taps.pop()[end]
        assert torch.equal(still(truncated)(images)[0], expected)


class Nested(nn.Module):
    """Each call is the argument of the next one, so all modules are read before the first is called."""

    def __init__(self) -> None:
        super().__init__()
        self.a, self.b = nn.Conv2d(3, 4, 1), nn.Conv2d(4, 5, 1)
        self.c = nn.Sequential(nn.Conv2d(5, 6, 1), nn.Conv2d(6, 6, 1))
        self.rest = nn.ModuleList([nn.Conv2d(6, 7, 1), nn.Conv2d(7, 8, 1)])

    def forward(self, x):
        return (self.rest[1](self.rest[0](self.c(self.b(self.a(x))))),)


@pytest.mark.parametrize(
    ('end', 'parts'),
    [
        ('a', ['a']),
        ('b', ['a', 'b']),
        ('c', ['a', 'b', 'c']),
        ('rest.0', ['a', 'b', 'c', 'rest.0']),
    ],
)
def test_a_forward_of_nested_calls_is_truncated(end, parts):
    full = Nested().eval()
    truncated = TruncatedBackbone(deepcopy(full), end).eval()
    kept = tuple(f'{part}.' for part in parts)
    names = [name for name in full.state_dict() if name.startswith(kept)]
    assert list(truncated.body.state_dict()) == names
    expected = images = torch.randn(2, 3, 8, 8)
    for part in parts:
        expected = full.get_submodule(part)(expected)
    for network in (truncated, deepcopy(truncated), pickle.loads(pickle.dumps(truncated))):
        assert torch.equal(network(images)[0], expected)
    traced = torch.jit.trace(truncated, images)
    assert torch.equal(traced(images)[0], expected)
    macs = real_complexity(truncated, (3, 8, 8)).flops
    assert macs == 64 * sum(
        w.numel() for name, w in full.named_parameters() if name in names and w.ndim == 4
    )


@needs_torch('2.3', 'torch.export for batches of any size')
@pytest.mark.parametrize(
    ('backbone', 'end'),
    [(Nested, 'b'), (lambda: MODELS.build(dict(SMALL, frozen_stages=4)), 'layer2')],
)
def test_torch_export_has_nothing_of_what_was_removed(backbone, end):
    truncated = still(TruncatedBackbone(backbone(), end))
    images = torch.randn(2, 3, 16, 16)
    program = torch.export.export(truncated, (images,), strict=False)
    assert program.state_dict.keys() == truncated.state_dict().keys()
    torch.testing.assert_close(program.module()(images), truncated(images))


def test_the_submodules_of_a_removed_module_are_found_by_train():
    class Freezing(Nested):
        def train(self, mode=True):
            super().train(mode)
            for module in [*self.c, self.c[1], self.c[:1], *self.rest[:2]]:
                module.eval()
                module.requires_grad_(False)
            return self

    truncated = TruncatedBackbone(Freezing(), 'b').train()
    assert truncated.body.b.training


def test_train_that_needs_the_weights_of_a_removed_module_is_refused():
    class Freezing(Nested):
        def train(self, mode=True):
            self.c[0].weight.requires_grad = False
            return super().train(mode)

    message = (
        r"Freezing cannot end at 'b': its train\(\) needs a later module "
        r"\('c.0' was removed, and with it 'weight'\)"
    )
    with pytest.raises(InputError, match=message):
        TruncatedBackbone(Freezing(), 'b')
    TruncatedBackbone(Freezing(), 'c')


def test_a_forward_that_needs_the_weights_of_a_removed_module_is_refused():
    class Tied(Nested):
        def forward(self, x):
            return super().forward(x + self.c[1].bias.sum())

    with pytest.raises(InputError, match=r"its forward needs a later module \('c.1' was removed"):
        TruncatedBackbone(Tied(), 'b')


def test_a_removed_module_that_only_training_calls_is_named():
    class Other(Nested):
        def forward(self, x):
            return super().forward(self.rest[1](x) if self.training else x)

    truncated = TruncatedBackbone(Other(), 'b')
    images = torch.randn(2, 3, 8, 8)
    truncated.eval()(images)
    with pytest.raises(InputError, match=r"^'rest.1' is called before the end .*but was removed"):
        truncated.train()(images)


class Wrapped(nn.Module):
    """A network in a wrapper, whose calls a tracer records, with lists that are run as such."""

    def __init__(self) -> None:
        super().__init__()
        self.network = nn.Module()
        self.network.blocks = nn.ModuleList(nn.Conv2d(3, 3, 1) for _ in range(3))
        self.network.forward = self._run
        self.tail = nn.Conv2d(3, 3, 1)

    def _run(self, x):
        for block in self.network.blocks:
            x = block(input=x)
        return x

    def forward(self, x):
        return (self.tail(self.network(x)),)

    def train(self, mode=True):
        super().train(mode)
        self.network.blocks[2].eval()
        return self


def test_the_rest_of_a_list_in_a_traced_module_is_skipped():
    full = Wrapped().eval()
    truncated = TruncatedBackbone(full, 'network.blocks.0').eval()
    assert set(truncated.body.state_dict()) == {
        'network.blocks.0.weight',
        'network.blocks.0.bias',
    }
    images = torch.randn(2, 3, 8, 8)
    traced = torch.jit.trace(truncated, images)
    assert torch.equal(traced(images)[0], full.network.blocks[0](images))
    assert real_complexity(truncated, (3, 8, 8)).flops == 9 * 64


class Inner(nn.Module):
    """A network of another library, which a backbone calls as a whole."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Conv2d(3, 3, 1)
        self.second = nn.Conv2d(3, 4, 1)
        self.fc = nn.Linear(4, 2)

    def forward(self, x):
        x = self.second(self.first(x))
        return self.fc(x.mean((2, 3)))


class Outer(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.inner = Inner()

    def forward(self, x):
        return (self.inner(x),)


def test_the_rest_of_a_network_in_a_traced_module_is_skipped():
    full = Outer().eval()
    truncated = TruncatedBackbone(full, 'inner.first').eval()
    assert set(truncated.body.state_dict()) == {'inner.first.weight', 'inner.first.bias'}
    images = torch.randn(2, 3, 8, 8)
    traced = torch.jit.trace(truncated, images)
    assert torch.equal(traced(images)[0], full.inner.first(images))
    assert real_complexity(truncated, (3, 8, 8)).flops == 9 * 64


def test_stages_that_share_an_activation_are_truncated():
    class Shared(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            act = nn.ReLU()
            self.first = nn.Sequential(nn.Conv2d(3, 4, 1), act)
            self.second = nn.Sequential(nn.Conv2d(4, 5, 1), act)
            self.tail = nn.Conv2d(5, 6, 1)

        def forward(self, x):
            return (self.tail(self.second(self.first(x))),)

    truncated = TruncatedBackbone(Shared(), 'first').eval()
    assert set(truncated.body.state_dict()) == {'first.0.weight', 'first.0.bias'}
    assert real_complexity(truncated, (3, 8, 8)).flops == 12 * 64


@pytest.mark.slow
@pytest.mark.parametrize(
    ('end', 'outs'),
    [
        ('layer3', ['layer1', 'layer2']),
        ('layer3', ['layer2', 'layer1']),
        ('layer3', ['layer2', 'layer3']),
        ('layer2.0', ['layer1.1.conv1']),
        ('cells.4[0]', ['cells.1[0]', 'cells.2[0]']),
        ('layers.5.3', ['layers.2', 'layers.5.0']),
    ],
)
def test_earlier_features_are_put_out_in_the_order_asked_for(end, outs):
    whole = still(MODELS.build(BACKBONES[end]))
    images = torch.randn(2, 3, 32, 32)
    taps = FeatureTaps(whole, dict.fromkeys([*outs, end]))
    with taps, torch.no_grad():
        whole(images)
        features = taps.pop()
    taps.remove()
    truncated = still(TruncatedBackbone(whole, end, outs))
    with torch.no_grad():
        found = truncated(images)
    assert len(found) == len(outs) + 1
    for feature, path in zip(found, [*outs, end], strict=True):
        assert torch.equal(feature, features[path])


def test_earlier_features_keep_no_module_behind_the_end():
    without_others = TruncatedBackbone(SMALL, 'layer2')
    with_others = TruncatedBackbone(SMALL, 'layer2', outs=['layer1', 'layer2'])
    assert with_others.state_dict().keys() == without_others.state_dict().keys()


@pytest.mark.parametrize(
    ('end', 'later'), [('layer2', 'layer3'), ('layer2.0', 'layer2'), ('layer2', 'layer4.1')]
)
def test_an_output_after_the_end_is_refused(end, later):
    message = f"cannot end at '{end}': '{later}' in outs is a later module"
    with pytest.raises(InputError, match=message):
        TruncatedBackbone(SMALL, end, outs=['layer1', later])


def test_an_earlier_feature_that_is_not_there_is_named():
    with pytest.raises(InputError, match=r"no module 'layer5'; nearest: 'layer\d'"):
        TruncatedBackbone(SMALL, 'layer3', outs=['layer5'])
    backbone = MODELS.build(SMALL)
    backbone.spare = nn.Conv2d(3, 3, 1)
    with pytest.raises(InputError, match="'spare' was not reached by the forward"):
        TruncatedBackbone(backbone, 'layer3', outs=['spare'])


def test_an_error_between_two_features_is_an_error_and_the_next_forward_a_new_one():
    truncated = still(TruncatedBackbone(SMALL, 'layer2', outs=['layer1']))
    images = torch.randn(2, 3, 16, 16)
    expected = truncated(images)
    handle = truncated.body.layer2.register_forward_pre_hook(lambda *_: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        truncated(torch.randn(2, 3, 16, 16))
    handle.remove()
    for feature, own in zip(truncated(images), expected, strict=True):
        assert torch.equal(feature, own)


def test_threads_do_not_mix_their_features():
    truncated = still(TruncatedBackbone(SMALL, 'layer2', outs=['layer1']))
    batches = [torch.randn(2, 3, 16, 16) for _ in range(20)]

    def run(batch):
        with torch.no_grad():
            return truncated(batch)

    expected = [run(batch) for batch in batches]
    with ThreadPoolExecutor(4) as pool:
        for own, single in zip(pool.map(run, batches), expected, strict=True):
            for feature, wanted in zip(own, single, strict=True):
                torch.testing.assert_close(feature, wanted)


class FromTheEnd(nn.Module):
    """A list of modules that is run from its end, as the decoder of a U-Net, after a stem."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, 4, 3, padding=1)
        self.layers = nn.ModuleList(nn.Conv2d(4, 4, 1) for _ in range(4))

    def forward(self, x):
        outs = [self.stem(x)]
        for i in reversed(range(len(self.layers))):
            outs.append(self.layers[i](outs[-1]))
        return outs


def test_a_list_that_is_run_from_its_end_keeps_its_numbers():
    full = FromTheEnd().eval()
    images = torch.randn(2, 3, 8, 8)
    expected = full(images)
    truncated = TruncatedBackbone(deepcopy(full), 'layers.2', outs=['stem']).eval()
    names = {name.removeprefix('body.') for name in truncated.state_dict()}
    assert names == {
        f'{part}.{kind}' for part in ('stem', 'layers.2', 'layers.3') for kind in ('weight', 'bias')
    }
    first, last = truncated(images)
    assert torch.equal(first, expected[0])
    assert torch.equal(last, expected[2])
    traced = torch.jit.trace(truncated, images)
    assert torch.equal(traced(images)[1], last)


def test_tokens_are_returned_as_maps_on_request():
    class Tokens(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.patches = nn.Conv2d(3, 4, 4, stride=4)
            self.norm = nn.LayerNorm(4)

        def forward(self, x):
            return (self.norm(self.patches(x).flatten(2).transpose(1, 2)),)

    full = Tokens()
    images = torch.randn(2, 3, 8, 16)
    (tokens,) = full(images)
    (found,) = TruncatedBackbone(full, 'norm', as_maps=True, input_shape=[3, 8, 16])(images)
    assert found.shape == (2, 4, 2, 4)
    assert torch.equal(found.flatten(2).transpose(1, 2), tokens)


@pytest.mark.parametrize('size', [(32, 32), (32, 64)])
def test_tokens_become_maps_without_the_class_token(size):
    arch = dict(embed_dims=8, num_layers=2, num_heads=2, feedforward_channels=8)
    vit = dict(type='mmpretrain.VisionTransformer', arch=arch, img_size=size, patch_size=8)
    backbone = TruncatedBackbone(vit, 'layers.0', input_shape=(3, *size), as_maps=True).eval()
    kept = {}
    backbone.body.layers[0].register_forward_hook(
        lambda _, args, output: kept.update(tokens=output), prepend=True
    )
    with torch.no_grad():
        (feature,) = backbone(torch.randn(2, 3, *size))
    assert feature.shape == (2, 8, size[0] // 8, size[1] // 8)
    assert torch.equal(feature.flatten(2).transpose(1, 2), kept['tokens'][:, 1:])
