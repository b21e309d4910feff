"""The networks of online and offline distillation: CIFAR ResNets, WRN and ShuffleNetV1."""

from pathlib import Path

import pytest
import torch
from mmengine.config import Config
from mmpretrain import get_model
from torch import nn

from mmmuse.backbones import ShuffleNetV1CIFAR, SmallResNetCIFAR, WideResNet
from mmmuse.backbones.shufflenet_cifar import ShuffleUnitCIFAR
from mmmuse.backbones.wide_resnet import PreActivationBlock
from mmmuse.command_line.config import load_config
from mmmuse.tapping.taps import FeatureTaps

BASELINES = Path(__file__).resolve().parents[2] / 'configs' / 'baselines'

# Parameters at 100 classes, as published.
PARAMS = {
    'resnet20_cifar100': 278_324,
    'resnet32_cifar100': 472_756,
    'resnet56_cifar100': 861_620,
    'resnet110_cifar100': 1_736_564,
    'wrn-40-2_cifar100': 2_255_156,
    'shufflenet-v1_cifar100': 949_258,
}


def small_resnet(**options) -> SmallResNetCIFAR:
    return SmallResNetCIFAR(20, stem_channels=4, base_channels=4, **options)


def small_wide_resnet(**options) -> WideResNet:
    return WideResNet(10, 1, **options)


def small_shufflenet(**options) -> ShuffleNetV1CIFAR:
    return ShuffleNetV1CIFAR(3, 0.5, **options)


# Each with the channels and the strides of its stages.
NETWORKS = {
    small_resnet: ((4, 8, 16), (1, 2, 4)),
    small_wide_resnet: ((16, 32, 64), (1, 2, 4)),
    small_shufflenet: ((120, 240, 480), (2, 4, 8)),
}
STAGES = {
    small_resnet: ('layer1', 'layer2', 'layer3'),
    small_wide_resnet: ('layer1', 'layer2', 'layer3'),
    small_shufflenet: ('layers.0', 'layers.1', 'layers.2'),
}
TAPS = {
    small_resnet: ('relu', 'layer1', 'layer2', 'layer3'),
    small_wide_resnet: ('conv1', 'layer1', 'layer2', 'relu'),
    small_shufflenet: ('conv1', 'layers.0', 'layers.1', 'layers.2'),
}
each_network = pytest.mark.parametrize('network', NETWORKS)


@pytest.mark.parametrize('name', PARAMS)
def test_a_network_has_the_published_number_of_parameters(name):
    network = get_model(Config.fromfile(BASELINES / f'{name}.py'))
    assert sum(parameter.numel() for parameter in network.parameters()) == PARAMS[name]


@pytest.mark.parametrize('name', PARAMS)
def test_a_baseline_has_the_recipe_of_the_comparison_that_is_quoted(name):
    config = load_config(str(BASELINES / f'{name}.py'), {})
    assert config.optim_wrapper.optimizer == dict(
        type='SGD', lr=0.01 if 'shufflenet' in name else 0.05, momentum=0.9, weight_decay=5e-4
    )
    scheduler = config.param_scheduler
    assert (scheduler.type, scheduler.milestones) == ('MultiStepLR', [150, 180, 210])
    assert scheduler.by_epoch
    assert scheduler.gamma == 0.1
    assert config.train_cfg.max_epochs == 240
    assert config.train_dataloader.batch_size == 64


@each_network
def test_every_stage_can_be_put_out(network):
    channels, strides = NETWORKS[network]
    maps = network(out_indices=(0, 1, 2))(torch.randn(2, 3, 16, 16))
    assert [tuple(feature.shape) for feature in maps] == [
        (2, width, 16 // stride, 16 // stride) for width, stride in zip(channels, strides)
    ]
    (last,) = network()(torch.randn(2, 3, 16, 16))
    assert last.shape == maps[2].shape


@each_network
def test_taps_run_once_and_are_what_the_stages_put_out(network):
    backbone = network(out_indices=(0, 1, 2))
    taps = FeatureTaps(backbone, TAPS[network])
    with taps:
        maps = backbone(torch.randn(2, 3, 16, 16))
        stem, *stages = taps.pop().values()
    assert stem.shape[2:] == (16, 16)
    assert all(torch.equal(*pair) for pair in zip(stages, maps))


@each_network
def test_images_may_have_other_channels(network):
    assert network(in_channels=1)(torch.randn(2, 1, 16, 16))[0].shape[0] == 2


def frozen_parts(backbone: nn.Module, stages: tuple[str, ...], frozen: int) -> set[str]:
    """Names of all parameters and statistics of the stem and the first stages."""
    if frozen < 0:
        return set()
    parts = ['conv1', *stages[:frozen]]
    if frozen == 3 or not isinstance(backbone, WideResNet):  # Whose bn1 ends the last stage.
        parts.append('bn1')
    starts = tuple(f'{part}.' for part in parts)
    return {name for name in backbone.state_dict() if name.startswith(starts)}


@pytest.mark.parametrize(
    ('network', 'frozen'),
    [
        (network, frozen)
        for network in NETWORKS
        # mmpretrain freezes at most two stages of a ShuffleNet.
        for frozen in range(-1, 3 if network is small_shufflenet else 4)
    ],
)
def test_what_is_frozen_has_no_gradient_and_does_not_move_in_training(network, frozen):
    backbone = network(frozen_stages=frozen)
    still = frozen_parts(backbone, STAGES[network], frozen)
    assert {name for name, p in backbone.named_parameters() if not p.requires_grad} == {
        name for name in still if name in dict(backbone.named_parameters())
    }
    backbone.eval()
    backbone.train()
    before = {name: value.clone() for name, value in backbone.state_dict().items()}
    trained = [p for p in backbone.parameters() if p.requires_grad]
    (feature,) = backbone(torch.randn(4, 3, 16, 16))
    if trained:
        feature.square().mean().backward()
        torch.optim.SGD(trained, 1.0).step()
    moved = {name for name, value in backbone.state_dict().items() if (value != before[name]).any()}
    assert not moved & still
    statistics = {name for name in before if name.endswith(('running_mean', 'running_var'))}
    assert statistics - still <= moved


@each_network
def test_norm_eval_keeps_batch_norm_still_in_training(network):
    backbone = network(norm_eval=True)
    backbone.train()
    assert backbone.training
    assert not any(m.training for m in backbone.modules() if isinstance(m, nn.BatchNorm2d))


@pytest.mark.parametrize(
    ('network', 'options', 'message'),
    [
        (SmallResNetCIFAR, dict(depth=21), 'invalid depth 21'),
        (SmallResNetCIFAR, dict(depth=20, out_indices=(3,)), ''),
        (WideResNet, dict(depth=39), r'a depth of 6 n \+ 4, got 39'),
        (WideResNet, dict(depth=4), r'a depth of 6 n \+ 4, got 4'),
        (WideResNet, dict(out_indices=(0, 3)), r'stages 0 to 2 .* got out_indices=\(0, 3\)'),
        (WideResNet, dict(frozen_stages=4), 'can freeze -1 to 3, got .* frozen_stages=4'),
        (ShuffleNetV1CIFAR, dict(with_cp=True), 'does not support with_cp'),
        (ShuffleNetV1CIFAR, dict(groups=5), '5 groups is not supported'),
        (ShuffleNetV1CIFAR, dict(out_indices=(3,)), 'out_indices must in .* received 3'),
        (ShuffleNetV1CIFAR, dict(frozen_stages=3), 'frozen_stages must be in .* received 3'),
    ],
)
def test_a_network_that_is_not_there_is_refused(network, options, message):
    with pytest.raises((ValueError, KeyError, AssertionError), match=message):
        network(**options)


@pytest.mark.parametrize(
    ('network', 'depths'),
    [
        (
            small_resnet,
            {'conv1.weight': 0, 'bn1.bias': 0, 'layer1.2.conv1.weight': 1, 'layer3.0.bn2.bias': 3},
        ),
        (
            small_wide_resnet,
            {'conv1.weight': 0, 'layer1.0.conv1.weight': 1, 'layer3.0.bn2.bias': 3, 'bn1.bias': 3},
        ),
    ],
)
def test_layers_are_the_stem_the_stages_and_the_head(network, depths):
    backbone = network()
    parameters = dict(backbone.named_parameters())
    for name, depth in depths.items():
        assert name in parameters
        assert backbone.get_layer_depth(f'backbone.{name}', 'backbone.') == (depth, 5)
    assert backbone.get_layer_depth('head.fc.weight', 'backbone.') == (4, 5)


def test_a_resnet_may_end_with_an_earlier_stage():
    backbone = small_resnet(num_stages=2, out_indices=(1,))
    assert backbone(torch.randn(2, 3, 16, 16))[0].shape == (2, 8, 8, 8)
    assert not hasattr(backbone, 'layer3')
    assert backbone.get_layer_depth('head.fc.weight', 'backbone.') == (3, 4)


def test_a_pre_activation_block_adds_its_input_or_what_stands_for_it():
    x = torch.randn(2, 4, 6, 6)
    block = PreActivationBlock(4, 4, 1, dropout=0.0).eval()
    nn.init.zeros_(block.conv2.weight)
    assert torch.equal(block(x), x)
    wider = PreActivationBlock(4, 8, 2, dropout=0.0).eval()
    nn.init.zeros_(wider.conv2.weight)
    # Eval mode and fresh statistics: BN divides by sqrt(1 + eps).
    active = (x / (1 + 1e-5) ** 0.5).relu()
    expected = torch.einsum(
        'oc,nchw->nohw', wider.shortcut.weight[..., 0, 0], active[..., ::2, ::2]
    )
    torch.testing.assert_close(wider(x), expected)


def test_a_shuffle_unit_of_stride_2_concatenates_its_pooled_input_last():
    unit = ShuffleUnitCIFAR(24, 240, 3, 1, halve=True, norm_cfg=dict(type='BN')).eval()
    assert unit.depthwise.conv.in_channels == 54  # A quarter of the 216 that are computed.
    x = torch.rand(2, 24, 8, 8)
    out = unit(x)
    assert out.shape == (2, 240, 4, 4)
    # At the corner the 3x3 window holds four pixels and five zeros.
    torch.testing.assert_close(out[:, 216:, 0, 0], x[..., :2, :2].sum((2, 3)) / 9)


def test_shufflenets_initial_weights_are_pytorchs_own_and_drawn_once():
    backbone = small_shufflenet()
    backbone.init_weights()
    for name, weight in backbone.named_parameters():
        if weight.dim() == 4:  # Uniform between -b and b, with b = 1 / sqrt(fan in).
            bound = weight[0].numel() ** -0.5
            assert 0.9 * bound < weight.abs().max() <= bound, name
    trained = {name: value.clone() for name, value in backbone.state_dict().items()}
    backbone.init_weights()
    assert all(torch.equal(value, trained[name]) for name, value in backbone.state_dict().items())


def test_shufflenets_initial_weights_can_be_chosen():
    chosen = dict(type='Constant', val=0.5, layer='Conv2d')
    backbone = small_shufflenet(init_cfg=chosen)
    backbone.init_weights()
    assert (backbone.layers[0][0].compress.conv.weight == 0.5).all()
