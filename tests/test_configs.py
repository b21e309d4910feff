"""Every shipped config builds, and has what its name promises."""

from collections import Counter
from copy import deepcopy
from functools import cache
from pathlib import Path

import pytest
import torch
from mmengine.config import Config
from mmpretrain import get_model
from mmpretrain.structures import DataSample

from mmmuse.checkpoints.runner_keys import runner_keys
from mmmuse.command_line.config import load_config
from mmmuse.critics import GlobalLocalCritic
from mmmuse.errors import InputError
from mmmuse.export.data import image_shape
from mmmuse.heads.variants import VARIANTS
from mmmuse.tables import read_table

CONFIGS = Path(__file__).resolve().parents[1] / 'configs'
RESNET18 = sorted(CONFIGS.glob('[!_]*/resnet18_cifar100*.py'))
MUSE = CONFIGS / 'muse' / 'resnet18_cifar100_mi_x_si.py'
OF_VARIANT = {
    'byot': CONFIGS / 'byot' / 'resnet18_cifar100_byot.py',
    'mi_x_si': MUSE,
    'mi_plus_si': CONFIGS / 'muse' / 'resnet18_cifar100_mi_plus_si.py',
}
# Rows of tables 5 and 6: the discrepancy, and the weights of the exits' CE and KD.
ROWS = {
    5: {
        'CE': (None, 0.9, 0.0),
        'CE + KD': (None, 0.9, 0.1),
        'L2': ('HintLoss', 0.0, 0.0),
        'L2 + CE': ('HintLoss', 0.9, 0.0),
        'L2 + CE + KD': ('HintLoss', 0.9, 0.1),
        'MI': ('mi', 0.0, 0.0),
        'SI': ('si', 0.0, 0.0),
        'MI + CE': ('mi', 0.9, 0.0),
        'MI + CE + KD': ('mi', 0.9, 0.1),
        '(MI + SI)': ('additive', 0.0, 0.0),
        '(MI x SI)': ('multiplicative', 0.0, 0.0),
        '(MI + SI) + CE': ('additive', 0.9, 0.0),
        '(MI x SI) + CE': ('multiplicative', 0.9, 0.0),
        '(MI + SI) + CE + KD': ('additive', 0.9, 0.1),
        '(MI x SI) + CE + KD': ('multiplicative', 0.9, 0.1),
    },
    6: {
        'L2': ('HintLoss', 0.9, 0.0),
        'MMD': ('MMDLoss', 0.9, 0.0),
        'adversarial': ('AdversarialLoss', 0.9, 0.0),
        'VID': ('VIDLoss', 0.9, 0.0),
        'MI + SI': ('additive', 0.9, 0.0),
        'MI x SI': ('multiplicative', 0.9, 0.0),
    },
}


@pytest.mark.slow
@pytest.mark.parametrize('path', RESNET18, ids=lambda path: f'{path.parent.name}/{path.stem}')
def test_every_resnet18_config_builds_the_same_student(path):
    model = get_model(Config.fromfile(path))
    student = getattr(model, 'student', model)
    assert sum(parameter.numel() for parameter in student.parameters()) == 11_220_132


@pytest.mark.parametrize('name', OF_VARIANT)
def test_a_named_variant_is_what_its_config_file_says(name):
    head = Config.fromfile(OF_VARIANT[name]).model.head
    assert head.get('ce_weight', 0.9) == 0.9
    assert head.get('kd_weight', 0.1) == 0.1
    assert {'discrepancy': head.discrepancy} == VARIANTS[name]


@pytest.mark.parametrize('number', ROWS)
def test_a_row_of_tables_5_and_6_adds_the_terms_that_it_names(number, monkeypatch):
    monkeypatch.chdir(CONFIGS.parent)
    rows = {row.name: row for row in read_table(f'configs/tables/table{number}.py').rows}
    reference = load_config(str(MUSE), {}).model
    found = {}
    for terms in ROWS[number]:
        row, other = rows[f'ResNet18 {terms}'], rows[f'EfficientNet-B0 {terms}']
        assert other.options == row.options
        assert other.config == row.config.replace('resnet18', 'efficientnet-b0')
        model = load_config(row.config, row.options).model
        assert (model.student, model.taps) == (reference.student, reference.taps)
        what = model.head.get('discrepancy')
        if what is not None:
            what = what.get('combine', what.type.removeprefix('mmmuse.'))
        found[terms] = (what, model.head.get('ce_weight', 0.9), model.head.get('kd_weight', 0.1))
    assert found == ROWS[number]


def test_keys_beside_a_named_head_change_it():
    options = {'model.head': 'mi_ce', 'model.head.discrepancy.loss_weight': 0.5}
    for order in (options, dict(reversed(options.items()))):
        head = load_config(str(MUSE), order).model.head
        assert (head.type, head.kd_weight) == ('mmmuse.MUSEHead', 0.0)
        assert (head.discrepancy.combine, head.discrepancy.loss_weight) == ('mi', 0.5)


def test_a_head_that_a_config_file_names_is_read_as_its_variant(tmp_path):
    own = tmp_path / 'own.py'
    own.write_text(f"_base_ = {str(MUSE)!r}\nmodel = dict(head='vid_ce', neck=dict(reduction=2))\n")
    model = load_config(str(own), {}).model
    assert model.head == dict(
        type='mmmuse.MUSEHead', discrepancy=dict(type='mmmuse.VIDLoss'), kd_weight=0.0
    )
    assert model.neck == dict(type='mmmuse.SelfDistillNeck', reduction=2)
    own.write_text(f"_base_ = {str(MUSE)!r}\nmodel = dict(head='vid')\n")
    with pytest.raises(InputError, match=r"^unknown variant 'vid'; available: mi_x_si, "):
        load_config(str(own), {})


@pytest.mark.slow
def test_byot_weighs_the_last_exit_with_one_minus_alpha():
    config = Config.fromfile(OF_VARIANT['byot'])
    assert config.model.student.head.loss.loss_weight == 0.9
    distiller = get_model(config)
    assert [exit.loss_module.loss_weight for exit in distiller.muse.exits] == [1.0, 1.0, 1.0]


@pytest.mark.parametrize(
    ('options', 'scored'),
    [
        ({}, [8, 8, 8]),  # 1,024 in a batch of 128.
        ({'locations_per_batch': 2048}, [16, 16, 16]),
        ({'num_locations': 64}, [64, 64, 64]),
        ({'num_locations': None}, [1024, 256, 64]),
    ],
)
def test_the_shipped_configs_score_a_number_for_the_batch_or_by_one_option_another(options, scored):
    prefix = 'model.head.discrepancy.critic.'
    config = load_config(str(MUSE), {prefix + name: value for name, value in options.items()})
    critic = {'hidden_channels': 1, **config.model.head.discrepancy.critic}
    vector = torch.zeros(config.train_dataloader.batch_size, 1)
    # The maps of a ResNet-18 on images of 32x32.
    assert [
        GlobalLocalCritic(1, 1, **critic)(
            torch.zeros(len(vector), 1, side, side), vector
        ).joint.shape[1]
        for side in (32, 16, 8)
    ] == scored


@pytest.mark.slow
@pytest.mark.parametrize('name', ['swin-tiny_in1k_mi_x_si', 'convnext-tiny_in1k_mi_x_si'])
def test_the_examples_distil_mmpretrains_own_configs(name):
    distiller = get_model(Config.fromfile(CONFIGS / 'examples' / f'{name}.py'))
    assert len(distiller.muse.exits) == 3
    assert distiller.tap_paths.last == 'backbone.norm3'


def test_the_recipe_is_the_papers():
    config = Config.fromfile(CONFIGS / 'baselines' / 'resnet18_cifar100.py')
    assert config.optim_wrapper.optimizer == dict(
        type='SGD', lr=0.1, momentum=0.9, weight_decay=5e-4
    )
    assert config.param_scheduler.milestones == [75, 130, 180]
    assert config.train_cfg.max_epochs == 200
    assert config.train_dataloader.batch_size == 128


NETWORKS = [
    *(f'resnet{depth}_cifar100' for depth in (18, 34, 50, 101, 152)),
    'vgg19_cifar100',
    'densenet121_cifar100',
    'nasnet_cifar100',
    'efficientnet-b0_cifar100',
    'efficientnet-b0-32_cifar100',
    'resnet18_tinyimagenet',
    'resnet34_tinyimagenet',
    'efficientnet-b0_tinyimagenet',
    'resnet18_imagenet',
]
EPOCHS_AND_BATCH = {'cifar100': (200, 128), 'tinyimagenet': (200, 64), 'imagenet': (90, 256)}


@cache
def of_network(name: str) -> dict[str, Config]:
    """The baseline of a network and its three distilled configs."""
    files = {
        'baseline': CONFIGS / 'baselines' / f'{name}.py',
        'byot': CONFIGS / 'byot' / f'{name}_byot.py',
        'mi_plus_si': CONFIGS / 'muse' / f'{name}_mi_plus_si.py',
        'mi_x_si': CONFIGS / 'muse' / f'{name}_mi_x_si.py',
    }
    return {kind: load_config(str(path), {}) for kind, path in files.items()}


def test_each_config_has_a_name_of_its_own():
    # `mim train mmmuse NAME` looks for the name in the whole package, and a run's folder has it.
    files = [*CONFIGS.rglob('*.py'), *(CONFIGS.parent / 'mmmuse').rglob('*.py')]
    times = Counter(path.name for path in files if '.mim' not in path.parts)
    trained = [path.name for path in CONFIGS.glob('[!_]*/*.py')]
    assert [name for name in trained if times[name] > 1] == []
    assert len(trained) > 100


def test_no_config_is_missing_and_none_is_left_over():
    # Those that teach and learn in table 7.
    small = ('resnet20', 'resnet32', 'resnet56', 'resnet110', 'wrn-40-2', 'shufflenet-v1')
    for folder, kinds, more in (
        ('baselines', [''], [f'{name}_cifar100' for name in small]),
        ('byot', ['_byot'], []),
        ('muse', ['_mi_plus_si', '_mi_x_si'], []),
    ):
        found = {path.stem for path in (CONFIGS / folder).glob('*.py')}
        assert found == {*more, *(name + kind for name in NETWORKS for kind in kinds)}


@pytest.mark.parametrize('name', NETWORKS)
def test_the_configs_of_a_network_differ_in_what_is_added_to_it_alone(name):
    configs = {**of_network(name)}
    baseline = configs.pop('baseline')
    for kind, config in configs.items():
        student = config.model.student.to_dict()
        if kind == 'byot':
            assert student['head']['loss'].pop('loss_weight') == 0.9
            student['head']['loss']['loss_weight'] = 1.0
        assert student == baseline.model.to_dict()
        assert config.model.taps == configs['mi_x_si'].model.taps
        assert config.train_dataloader == baseline.train_dataloader
        assert config.optim_wrapper == baseline.optim_wrapper
        assert config.val_evaluator[1].type == 'mmmuse.ExitAccuracy'
    heads = {kind: config.model.head.discrepancy for kind, config in configs.items()}
    assert heads['byot'].type == 'mmmuse.HintLoss'
    assert heads['mi_plus_si'].combine == 'additive'
    assert heads['mi_x_si'].combine == 'multiplicative'


@pytest.mark.parametrize('name', NETWORKS)
def test_a_network_has_the_recipe_of_its_data(name):
    config = of_network(name)['mi_x_si']
    epochs, batch_size = EPOCHS_AND_BATCH[name.partition('_')[2]]
    assert config.train_cfg.max_epochs == epochs
    assert config.train_dataloader.batch_size == batch_size
    assert config.auto_scale_lr.base_batch_size == batch_size
    assert config.optim_wrapper.optimizer.weight_decay == (1e-4 if epochs == 90 else 5e-4)
    assert config.param_scheduler.milestones == ([30, 60] if epochs == 90 else [75, 130, 180])


def narrow(config: Config) -> Config:
    """Take an eighth of a ResNet's channels, a quarter of a DenseNet's and 64 of a critic's.

    What the networks are made of stays.
    """
    discrepancy = (config.model.get('head') or {}).get('discrepancy') or {}
    if 'critic' in discrepancy:
        discrepancy.critic.hidden_channels = 64
    student = config.model.student
    if student.backbone.type.startswith('ResNet'):
        student.backbone.update(stem_channels=8, base_channels=8)
        student.head.in_channels //= 8
    if student.backbone.type == 'mmmuse.DenseNetCIFAR':
        student.backbone.arch = dict(growth_rate=8, depths=[6, 12, 24, 16], init_channels=16)
        student.head.in_channels //= 4
    return config


@pytest.mark.slow
@pytest.mark.parametrize('name', NETWORKS)
def test_a_network_trains_and_every_trained_parameter_gets_a_gradient(name):
    config = narrow(deepcopy(of_network(name)['mi_x_si']))
    distiller = get_model(config)
    shape = image_shape(config)
    if shape[1] > 64:  # The networks themselves take any size.
        shape = (3, 64, 64)
    images = torch.randn(2, *shape)
    samples = [DataSample().set_gt_label(i) for i in range(2)]
    optimizer = torch.optim.SGD(distiller.parameters(), lr=1e-4)
    for _ in range(2):
        total, _ = distiller.parse_losses(distiller(images, samples, mode='loss'))
        optimizer.zero_grad()
        total.backward()
        optimizer.step()
    missing = [
        name
        for name, parameter in distiller.named_parameters()
        if parameter.requires_grad and parameter.grad is None
    ]
    assert missing == []


@pytest.mark.parametrize('path', sorted((CONFIGS / 'examples').glob('*.py')), ids=lambda p: p.stem)
def test_the_tools_read_the_examples(path):
    load_config(str(path), {})


def test_modules_that_a_config_imports_go_with_an_export(tmp_path):
    own = tmp_path / 'config.py'
    baseline = CONFIGS / 'baselines' / 'resnet18_cifar100.py'
    own.write_text(f"_base_ = {str(baseline)!r}\ncustom_imports = dict(imports=['json'])\n")
    config = load_config(str(own), {})
    assert 'custom_imports' in runner_keys(config)
