"""Every config of offline and online distillation builds, has what its name promises, and takes a step."""

import json
from functools import cache
from itertools import product
from pathlib import Path

import pytest
import torch
from mmengine.config import Config, ConfigDict
from mmpretrain import get_model
from mmpretrain.structures import DataSample

from mmmuse.command_line.config import load_config
from mmmuse.registry import MODELS

CONFIGS = Path(__file__).resolve().parents[1] / 'configs'
LOSSES = {
    'kd': ['KDLoss'],
    'fitnet': ['FitNetLoss'],
    'at': ['AttentionTransferLoss'],
    'vid': ['VIDLoss'],
    'crd': ['CRDLoss'],
    'dkd': ['DKDLoss'],
    'reviewkd': ['ReviewKDLoss'],
    'dist': ['DISTLoss'],
    'kd_standardized': ['KDLoss'],
    'dml': ['KDLoss'],
    'kdcl': ['KDCLLoss'],
    'afd': ['AFDLoss', 'KDLoss'],
    'mi_plus_si': ['KDLoss', 'MUSELoss'],
    'mi_x_si': ['KDLoss', 'MUSELoss'],
}
TEMPERATURES = {'dml': 1, 'afd': 3, 'kd_standardized': 2}
OFFLINE = [
    *('kd', 'fitnet', 'at', 'vid', 'crd', 'dkd', 'reviewkd', 'dist', 'kd_standardized'),
    *('mi_plus_si', 'mi_x_si'),
]
ONLINE = ['kd', 'dml', 'kdcl', 'afd', 'mi_plus_si', 'mi_x_si']
PARAMETERS = {
    'resnet20': 278_324,
    'resnet32': 472_756,
    'resnet56': 861_620,
    'resnet110': 1_736_564,
    'wrn-40-2': 2_255_156,
    'shufflenet-v1': 949_258,
}
SHALLOWEST = {'mmmuse.SmallResNetCIFAR': 20, 'mmmuse.WideResNet': 10}
PAIRS = {
    'offline': [('resnet56', 'resnet20'), ('resnet110', 'resnet32')],
    'online': [
        ('resnet20', 'resnet20'),
        ('resnet56', 'resnet56'),
        ('resnet20', 'resnet56'),
        ('shufflenet-v1', 'wrn-40-2'),
    ],
}
CELLS = [
    (kind, first, second, method)
    for kind, methods in (('offline', OFFLINE), ('online', ONLINE))
    for (first, second), method in product(PAIRS[kind], methods)
]


def path_of(kind: str, first: str, second: str, method: str) -> Path:
    return CONFIGS / kind / f'{first}-{second}_cifar100_{method}.py'


def count(network: torch.nn.Module) -> int:
    return sum(parameter.numel() for parameter in network.parameters())


@cache
def parameters(network: str) -> int:
    """Return the number of parameters of a network, by its config in JSON."""
    return count(MODELS.build(json.loads(network)))


def networks(config: Config) -> list[ConfigDict]:
    """Return the configs of the teacher and the student, or of the peers."""
    model = config.model
    if 'peers' in model:
        return [peer.model for peer in model.peers.values()]
    return [model.teacher, model.student]


def test_no_config_is_missing_and_none_is_left_over():
    found = {path for kind in PAIRS for path in (CONFIGS / kind).glob('*.py')}
    assert found == {path_of(*cell) for cell in CELLS}


@pytest.mark.parametrize('cell', CELLS, ids='-'.join)
def test_a_config_has_its_losses_and_the_recipe(cell):
    kind, first, second, method = cell
    config = load_config(str(path_of(*cell)), {})
    assert [loss.type for loss in config.model.losses] == [f'mmmuse.{x}' for x in LOSSES[method]]
    for loss in config.model.losses:
        if loss.type == 'mmmuse.KDLoss':
            assert loss.temperature == TEMPERATURES.get(method, 4)
            assert loss.get('standardize', False) == (method == 'kd_standardized')
        if loss.type == 'mmmuse.MUSELoss':
            assert loss.combine == ('additive' if method == 'mi_plus_si' else 'multiplicative')
            assert 'loss_weight' not in loss  # MUSE's default.
    found = [parameters(json.dumps(network.to_dict())) for network in networks(config)]
    assert found == [PARAMETERS[first], PARAMETERS[second]]
    optimizer = config.optim_wrapper.optimizer
    assert (optimizer.lr, optimizer.weight_decay, optimizer.momentum) == (0.05, 5e-4, 0.9)
    assert config.param_scheduler.milestones == [150, 180, 210]
    assert config.train_cfg.max_epochs == 240
    assert config.train_dataloader.batch_size == 64
    if kind == 'offline':
        shared = 0.1 if method in ('kd', 'kd_standardized') else 1.0
        assert config.model.student.head.loss.loss_weight == shared
    else:
        assert config.model.get('own_weight', 1.0) == (0.5 if method == 'kdcl' else 1.0)
        assert [evaluator.type for evaluator in config.val_evaluator] == ['mmmuse.PeerMetric']


def test_shufflenet_learns_at_its_own_rate():
    config = load_config(str(path_of('online', 'shufflenet-v1', 'wrn-40-2', 'kd')), {})
    multipliers = config.optim_wrapper.paramwise_cfg.custom_keys
    assert {key: value.lr_mult * 0.05 for key, value in multipliers.items()} == pytest.approx(
        {'student.backbone': 0.01, 'student.head': 0.01}
    )


@pytest.fixture(scope='module')
def teachers(tmp_path_factory) -> Path:
    """A folder with the weights of each teacher, which nine methods share."""
    return tmp_path_factory.mktemp('teachers')


@pytest.mark.slow
@pytest.mark.parametrize('cell', CELLS, ids='-'.join)
def test_a_config_takes_a_step_in_which_every_parameter_gets_a_gradient(cell, teachers):
    kind, first, *_ = cell
    config = load_config(str(path_of(*cell)), {})
    for network in networks(config):  # Deeper ones repeat the same blocks.
        if network.backbone.type in SHALLOWEST:
            network.backbone.depth = SHALLOWEST[network.backbone.type]
    if kind == 'offline':
        weights = teachers / f'{first}.pth'
        if not weights.exists():
            torch.save(MODELS.build(config.model.teacher).state_dict(), weights)
        config.model.teacher_checkpoint = str(weights)
    distiller = get_model(config)
    distiller.train()
    distiller.prepare(torch.arange(100))
    samples = [DataSample(metainfo=dict(sample_idx=i)).set_gt_label(i) for i in range(4)]
    total, _ = distiller.parse_losses(distiller(torch.randn(4, 3, 16, 16), samples, mode='loss'))
    total.backward()
    assert [key for key, value in distiller.named_parameters() if value.grad is None] == []


@pytest.mark.parametrize('kind', PAIRS)
def test_a_readme_has_a_row_for_every_config(kind):
    rows = (CONFIGS / kind / 'README.md').read_text().splitlines()
    for cell in CELLS:
        if cell[0] == kind:
            name = path_of(*cell).name
            assert len([row for row in rows if row.startswith(f'| `{name}` |')]) == 1


@pytest.mark.slow
def test_another_program_reads_them_as_well(monkeypatch, tmp_path):
    path = path_of('online', 'resnet20', 'resnet56', 'mi_x_si')
    monkeypatch.chdir(tmp_path)
    assert count(get_model(Config.fromfile(path)).peers['b']) == PARAMETERS['resnet56']


def test_a_path_in_a_config_is_one_from_its_folder(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    folder = tmp_path / 'mine'
    folder.mkdir()
    (folder / 'big.py').write_text(
        f'_base_ = {str(CONFIGS / "baselines/resnet56_cifar100.py")!r}\n'
    )
    (folder / 'base.py').write_text(
        f'_base_ = {str(path_of("offline", "resnet56", "resnet20", "kd"))!r}\n'
        "model = dict(teacher='big.py')\n"
    )
    other = tmp_path / 'other'
    other.mkdir()
    (other / 'child.py').write_text("_base_ = '../mine/base.py'\n")
    config = load_config(str(other / 'child.py'), {})
    assert config.model.teacher.backbone.depth == 56


@pytest.mark.slow
@pytest.mark.parametrize(
    ('name', 'runs_head'),
    [('swin-tiny-mobilenet-v2_in1k_kd_mi_x_si', True), ('retinanet_r50-r18_coco_mi_x_si', False)],
)
def test_any_openmmlab_model_teaches(name, runs_head, tmp_path):
    config = load_config(str(CONFIGS / 'examples' / f'{name}.py'), {})
    weights = tmp_path / 'teacher.pth'
    torch.save(MODELS.build(config.model.teacher).state_dict(), weights)
    config.model.teacher_checkpoint = str(weights)
    distiller = MODELS.build({'_scope_': config.default_scope, **config.model}).train()
    assert distiller.teacher.runs_head == runs_head
    if runs_head:
        samples = [DataSample().set_gt_label(i) for i in range(2)]
        losses = distiller(torch.randn(2, 3, 224, 224), samples, mode='loss')
    else:
        from mmdet.testing import demo_mm_inputs

        data = demo_mm_inputs(2, [[3, 64, 64], [3, 60, 64]])
        losses = distiller(**distiller.data_preprocessor(data, True), mode='loss')
    total, _ = distiller.parse_losses(losses)
    total.backward()
    missing = [
        key
        for key, value in distiller.named_parameters()
        if value.requires_grad and value.grad is None
    ]
    assert missing == []
