from itertools import pairwise

import pytest
import torch
from mmengine.model import BaseModel
from mmengine.registry import DefaultScope
from torch import nn

import mmmuse
from mmmuse.checkpoints.network_config import network_config
from mmmuse.errors import InputError
from mmmuse.registry import MODELS
from mmmuse.tapping.dry_run import blank_image_shapes
from mmmuse.tapping.proposal import propose_taps
from tests.conftest import labelled, small_classifier_config

pytestmark = pytest.mark.slow


def classifier(
    backbone: dict,
    channels: int,
    neck: str | None = 'GlobalAveragePooling',
    head: str = 'LinearClsHead',
) -> dict:
    return dict(
        type='mmpretrain.ImageClassifier',
        _scope_='mmpretrain',
        backbone=backbone,
        neck=neck and dict(type=neck),
        head=dict(type=head, num_classes=5, in_channels=channels),
    )


NARROW = dict(stem_channels=8, base_channels=8)
CIFAR_RESNET18 = small_classifier_config()
CIFAR_RESNET18['backbone']['depth'] = 18
RESNET18 = classifier(dict(type='ResNet', depth=18, **NARROW), 64)
RESNET50 = classifier(dict(type='ResNet', depth=50, **NARROW), 256)
VGG11 = classifier(dict(type='VGG', depth=11, norm_cfg=dict(type='BN')), 512)
CONVNEXT = classifier(
    dict(type='ConvNeXt', arch=dict(depths=[1, 1, 2, 1], channels=[40, 80, 160, 320])),
    320,
    neck=None,
)
SWIN = classifier(
    dict(
        type='SwinTransformer',
        img_size=64,
        window_size=2,
        arch=dict(embed_dims=8, depths=[2, 2, 2, 2], num_heads=[1, 2, 4, 8]),
    ),
    64,
)
VIT = classifier(
    dict(type='VisionTransformer', arch='deit-tiny', img_size=32, patch_size=8),
    192,
    neck=None,
    head='VisionTransformerClsHead',
)
MOBILENET = classifier(dict(type='MobileNetV2', widen_factor=0.25), 1280)
MOBILENET_V3 = classifier(dict(type='MobileNetV3', arch='small'), 576)
REGNET = classifier(dict(type='RegNet', arch='regnetx_400mf'), 384)

STAGES = ('backbone.layer1', 'backbone.layer2', 'backbone.layer3')
NETWORKS = {
    'cifar_resnet18': (CIFAR_RESNET18, STAGES, 'backbone.layer4'),
    'resnet18': (RESNET18, STAGES, 'backbone.layer4'),
    'resnet50': (RESNET50, STAGES, 'backbone.layer4'),
    'regnet': (REGNET, STAGES, 'backbone.layer4'),
    # The last module before each of the last pools; the fifth pool has no parameters of its own.
    'vgg11': (
        VGG11,
        ('backbone.features.2', 'backbone.features.5', 'backbone.features.8'),
        'backbone.features.12',
    ),
    # The norm after the last stage is the input of the pooling.
    'convnext': (
        CONVNEXT,
        ('backbone.stages.0', 'backbone.stages.1', 'backbone.stages.2'),
        'backbone.norm3',
    ),
    'swin': (
        SWIN,
        ('backbone.stages.0', 'backbone.stages.1', 'backbone.stages.2'),
        'backbone.norm3',
    ),
    # Strides 4, 8 and 16; at 32 the head's 1x1 convolution is the end.
    'mobilenet': (
        MOBILENET,
        ('backbone.layer2', 'backbone.layer3', 'backbone.layer5'),
        'backbone.conv2',
    ),
    # The layer before each one that starts with a stride; gates of 1x1 are not on the path.
    'mobilenet_v3': (
        MOBILENET_V3,
        ('backbone.layer1', 'backbone.layer3', 'backbone.layer8'),
        'backbone.layer12',
    ),
    # Twelve layers of one resolution, in quarters; the output of the backbone is the class token.
    'vit': (VIT, ('backbone.layers.2', 'backbone.layers.5', 'backbone.layers.8'), 'backbone'),
}


@pytest.fixture(scope='module', params=NETWORKS)
def network(request):
    config, modules, last = NETWORKS[request.param]
    return MODELS.build(config), modules, last


def test_a_network_is_cut_where_its_resolution_falls(network):
    model, modules, last = network
    proposal = propose_taps(model)
    assert (proposal.modules, proposal.last, proposal.logits) == (modules, last, 'head')


def test_a_proposal_trains_a_step_and_predicts(network):
    model, _, _ = network
    distiller = mmmuse.distill(
        model, discrepancy=dict(type='mmmuse.MUSELoss', critic=dict(hidden_channels=8))
    )
    x, samples = torch.randn(2, *blank_image_shapes(model)[0]), labelled([0, 1])
    total, log = distiller.parse_losses(distiller(x, samples, mode='loss'))
    assert {'exit3.loss_ce', 'exit3.loss_kd', 'mi_loss_3', 'si_loss_3'} < set(log)
    total.backward()
    for name, parameter in distiller.named_parameters():
        assert parameter.grad is not None, name
        assert parameter.grad.isfinite().all(), name
    distiller.eval()
    with torch.no_grad():
        for sample in distiller(x, mode='predict'):
            assert sample.exit_scores.shape == (3, 5)
            torch.testing.assert_close(sample.exit_scores.sum(1), torch.ones(3))


VGG19 = classifier(dict(type='VGG', depth=19, norm_cfg=dict(type='BN')), 512)
INSTANCE_NORM = dict(type='IN', affine=True, track_running_stats=True)
RESNET18_IN = classifier(dict(type='ResNet', depth=18, norm_cfg=INSTANCE_NORM, **NARROW), 64)


def other_weights(model: nn.Module, seed: int) -> None:
    """Give a network random parameters and statistics of its norms, some of them zero."""
    generator = torch.Generator().manual_seed(seed)
    for tensor in (*model.parameters(), *model.buffers()):
        if tensor.is_floating_point():
            value = torch.randn(tensor.shape, generator=generator)
            tensor.data = value.abs() * (torch.rand(tensor.shape, generator=generator) > 0.3)


@pytest.mark.parametrize(
    'config', [VGG19, RESNET18, RESNET18_IN, CONVNEXT, SWIN], ids=['vgg', 'bn', 'in', 'ln', 'swin']
)
def test_a_proposal_does_not_depend_on_weights_or_statistics(config):
    model = MODELS.build(config)
    fresh = [propose_taps(model, number) for number in (4, 6)]
    for seed in range(3):
        other_weights(model, seed)
        assert [propose_taps(model, number) for number in (4, 6)] == fresh
    for parameter in model.parameters():
        parameter.data.zero_()
    assert [propose_taps(model, number) for number in (4, 6)] == fresh


@pytest.mark.parametrize(
    ('num_modules', 'modules'),
    [
        (2, STAGES[2:]),
        (3, STAGES[1:]),
        (4, STAGES),
        # The stem, before its pool, is a resolution of its own.
        (5, ('backbone.relu', *STAGES)),
        # Then the stage with the most parameters is cut at its block, then the next.
        (6, ('backbone.relu', *STAGES, 'backbone.layer4.0')),
        (
            7,
            (
                'backbone.relu',
                *STAGES[:2],
                'backbone.layer3.0',
                'backbone.layer3',
                'backbone.layer4.0',
            ),
        ),
    ],
)
def test_a_resnet_is_cut_into_as_many_modules_as_asked_for(num_modules, modules):
    proposal = propose_taps(MODELS.build(RESNET18), num_modules)
    assert proposal.modules == modules
    assert proposal.last == 'backbone.layer4'


def test_the_part_with_the_most_parameters_is_cut_next():
    # Of a ResNet-34's stages the last has 200 units of parameters in three blocks, the one before
    # 104 in six; halved, the last is the smaller one.
    config = classifier(dict(type='ResNet_CIFAR', depth=34, **NARROW), 64)
    assert propose_taps(MODELS.build(config), 6).modules == (
        'backbone.layer1',
        'backbone.layer2',
        'backbone.layer3.2',
        'backbone.layer3',
        'backbone.layer4.1',
    )


@pytest.mark.parametrize(
    ('num_modules', 'layers'),
    [(2, [5]), (3, [3, 7]), (4, [2, 5, 8]), (6, [1, 3, 5, 7, 9]), (12, list(range(11)))],
)
def test_a_vit_is_cut_into_equal_parts(num_modules, layers):
    proposal = propose_taps(MODELS.build(VIT), num_modules)
    assert proposal.modules == tuple(f'backbone.layers.{layer}' for layer in layers)


def test_a_vit_that_puts_out_its_map_is_cut_likewise():
    config = dict(
        VIT,
        backbone=dict(VIT['backbone'], out_type='featmap'),
        neck=dict(type='GlobalAveragePooling'),
        head=dict(type='LinearClsHead', num_classes=5, in_channels=192),
    )
    proposal = propose_taps(MODELS.build(config))
    assert proposal.modules == ('backbone.layers.2', 'backbone.layers.5', 'backbone.layers.8')


@pytest.mark.parametrize('config', [CIFAR_RESNET18, RESNET18, VGG11, VIT, SWIN])
def test_however_many_modules_no_module_is_tapped_twice(config):
    model = MODELS.build(config)
    for num_modules in range(2, 10):
        proposal = propose_taps(model, num_modules)
        assert len({*proposal.modules, proposal.last}) == num_modules
        used = {module.path: module.params_so_far for module in proposal.tappable}
        sizes = [used[path] for path in proposal.modules]
        assert sizes == sorted(set(sizes))  # Every module has parameters of its own.


def test_more_modules_than_there_are_blocks_are_refused_with_the_number_there_is():
    with pytest.raises(
        InputError,
        match=r'ImageClassifier can be cut into \d+ modules at most, '
        'not 40; name the modules to tap',
    ):
        propose_taps(MODELS.build(CIFAR_RESNET18), 40)


@pytest.mark.parametrize('num_modules', [1, 0, -1])
def test_fewer_than_two_modules_are_refused(num_modules):
    with pytest.raises(InputError, match=f'num_modules={num_modules}'):
        propose_taps(MODELS.build(CIFAR_RESNET18), num_modules)


def test_proposing_does_not_change_the_model():
    model = MODELS.build(CIFAR_RESNET18).train()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    propose_taps(model)
    assert all(torch.equal(before[name], value) for name, value in model.state_dict().items())
    assert all(module.training for module in model.modules())
    assert not any(module._forward_hooks or module._forward_pre_hooks for module in model.modules())


def test_the_tappable_modules_come_with_their_shapes_and_parameters():
    model = MODELS.build(CIFAR_RESNET18)
    proposal = propose_taps(model, input_shape=(3, 32, 32))
    tappable = {module.path: module for module in proposal.tappable}
    stages = [tappable[f'backbone.layer{i}'] for i in (1, 2, 3, 4)]
    assert [stage.shape for stage in stages] == [(8, 32, 32), (16, 16, 16), (32, 8, 8), (64, 4, 4)]
    assert [stage.stride for stage in stages] == [1, 2, 4, 8]
    assert [stage.params for stage in stages] == [
        sum(p.numel() for p in getattr(model.backbone, f'layer{i}').parameters())
        for i in (1, 2, 3, 4)
    ]
    stem = sum(
        p.numel() for name in ('conv1', 'bn1') for p in getattr(model.backbone, name).parameters()
    )
    assert stages[0].params_so_far == stem + stages[0].params
    assert tappable['head'].params_so_far == proposal.total_params
    assert proposal.total_params == sum(p.numel() for p in model.parameters())
    assert tappable['head'].stride is None
    assert proposal.input_shape == (3, 32, 32)


def test_modules_that_cannot_be_tapped_are_left_out():
    # Changed in place by the activation after it, and an activation that runs twice.
    paths = {module.path for module in propose_taps(MODELS.build(CIFAR_RESNET18)).tappable}
    assert not paths & {'backbone.bn1', 'backbone.layer1.0.bn1', 'backbone.layer1.0.relu'}
    assert {'backbone.conv1', 'backbone.relu', 'backbone.layer1.0'} < paths


def test_a_network_of_vectors_cannot_be_cut():
    class Vectors(nn.Module):
        def __init__(self):
            super().__init__()
            self.fc = nn.Linear(3, 2)

        def forward(self, inputs, mode):
            return self.fc(inputs.mean((2, 3)))

    with pytest.raises(InputError, match='cut into 0 modules'):
        propose_taps(Vectors(), 2)


class Stages(nn.Sequential):
    """Five convolutions, each of which reduces the resolution."""

    def __init__(self, outputs: int):
        widths = (3, 4, 8, 16, 32, 64)
        super().__init__(*(nn.Conv2d(*pair, 3, 2, padding=1) for pair in pairwise(widths)))
        self.outputs = outputs

    def forward(self, inputs):
        maps = []
        for stage in self:
            inputs = stage(inputs)
            maps.append(inputs)
        return tuple(maps[-self.outputs :])


class Wrapper(nn.Module):
    """A backbone that normalises the image and runs a network of another library."""

    def __init__(self, network: nn.Module):
        super().__init__()
        self.normalise, self.network = nn.BatchNorm2d(3), network

    def forward(self, inputs):
        return self.network(self.normalise(inputs))


class Trunk(nn.Module):
    """A network with all stages in one module, and a layer after them."""

    def __init__(self):
        super().__init__()
        self.stages, self.head = Stages(1), nn.Conv2d(64, 64, 3, padding=1)

    def forward(self, inputs):
        return (self.head(*self.stages(inputs)),)


class Tokens(nn.Module):
    """A transformer without attention, whose last layer has been removed."""

    def __init__(self):
        super().__init__()
        self.patches = nn.Conv2d(3, 8, 4, 4)
        self.places = nn.Parameter(torch.zeros(64, 8))
        self.blocks = nn.Sequential(*(nn.Sequential(nn.Linear(8, 8), nn.GELU()) for _ in range(4)))
        self.norm, self.head = nn.LayerNorm(8), nn.Identity()

    def forward(self, inputs):
        tokens = self.patches(inputs).flatten(2).transpose(1, 2) + self.places
        return self.head(self.norm(self.blocks(tokens)))


class TokenClassifier(BaseModel):
    """Its backbone wraps a network, and has parameters beside those of the network's layers."""

    def __init__(self):
        super().__init__()
        self.backbone, self.head = nn.Sequential(Tokens()), nn.Linear(8, 5)

    def forward(self, inputs, data_samples=None, mode='tensor'):
        logits = self.head(self.backbone(inputs).mean(1))
        return dict(loss=logits.mean()) if mode == 'loss' else logits


@pytest.mark.parametrize('num_modules', [2, 3, 4])
def test_a_wrapper_and_the_layer_whose_output_it_returns_are_one_end(num_modules):
    proposal = propose_taps(TokenClassifier(), num_modules, (3, 32, 32))
    modules = ['backbone.0.patches', 'backbone.0.blocks']
    if num_modules == 4:
        modules[1:] = ['backbone.0.blocks.2', 'backbone.0.blocks.3']
    assert (list(proposal.modules), proposal.last) == (modules[1 - num_modules :], 'backbone')
    distiller = mmmuse.distill(
        TokenClassifier(),
        list(proposal.modules),
        proposal.last,
        variant='mi_x_si_alone',
        input_shape=(3, 32, 32),
    )
    losses = distiller(torch.randn(2, 3, 32, 32), [None, None], mode='loss')
    assert 'loss_muse' in losses


@pytest.mark.parametrize(
    ('backbone', 'stages'),
    [
        (lambda: Wrapper(Stages(1)), 'backbone.network'),
        (lambda: Wrapper(Stages(3)), 'backbone.network'),
        (lambda: Wrapper(Wrapper(Stages(1))), 'backbone.network.network'),
        (Trunk, 'backbone.stages'),
        (lambda: Wrapper(Trunk()), 'backbone.network.stages'),
    ],
)
def test_a_network_inside_a_wrapper_is_cut(backbone, stages):
    student = MODELS.build(RESNET18)
    student.backbone = backbone()
    assert propose_taps(student).modules == tuple(f'{stages}.{i}' for i in (1, 2, 3))


def test_of_a_detector_the_backbone_is_cut():
    with DefaultScope.overwrite_default_scope('mmdet'):
        detector = MODELS.build(network_config('mmdet::yolox/yolox_tiny_8xb8-300e_coco.py'))
    proposal = propose_taps(detector, 3)
    assert proposal.modules == ('backbone.stage2', 'backbone.stage3')
    assert proposal.last == 'backbone.stage4'
    assert proposal.logits is None
    assert proposal.total_params == sum(p.numel() for p in detector.parameters())
    assert all(module.path.startswith('backbone.') for module in proposal.tappable)
