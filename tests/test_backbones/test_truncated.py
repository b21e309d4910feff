from concurrent.futures import ThreadPoolExecutor
from copy import deepcopy

import pytest
import torch
from mmpretrain.registry import MODELS
from torch import nn

from mmmuse.backbones import TruncatedBackbone
from mmmuse.errors import InputError
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


def test_stages_that_are_frozen_behind_the_end_are_refused():
    with pytest.raises(InputError, match=r"cannot end at 'layer2'.*frozen_stages may be too high"):
        TruncatedBackbone(dict(SMALL, frozen_stages=3), 'layer2')


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
