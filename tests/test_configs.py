"""Every shipped config builds, and says what its name says."""

from pathlib import Path

import pytest
from mmengine.config import Config
from mmpretrain import get_model

from mmmuse.variants import VARIANTS

CONFIGS = Path(__file__).resolve().parents[1] / 'configs'
RESNET18 = sorted(CONFIGS.glob('[!_]*/resnet18_cifar100*.py'))
OF_VARIANT = {
    **{name: CONFIGS / 'ablation' / f'resnet18_cifar100_{name}.py' for name in VARIANTS},
    'byot': CONFIGS / 'byot' / 'resnet18_cifar100.py',
    'mi_x_si': CONFIGS / 'muse' / 'resnet18_cifar100_mi_x_si.py',
    'mi_plus_si': CONFIGS / 'muse' / 'resnet18_cifar100_mi_plus_si.py',
}


@pytest.mark.parametrize('path', RESNET18, ids=lambda path: f'{path.parent.name}/{path.stem}')
def test_every_resnet18_config_builds_the_same_student(path):
    model = get_model(Config.fromfile(path))
    student = getattr(model, 'student', model)
    assert sum(parameter.numel() for parameter in student.parameters()) == 11_220_132


@pytest.mark.parametrize('name', sorted(VARIANTS))
def test_a_named_variant_is_what_its_config_file_says(name):
    head = Config.fromfile(OF_VARIANT[name]).model.head
    expected = {'ce_weight': 0.9, 'kd_weight': 0.1, 'discrepancy': None, **VARIANTS[name]}
    for key in ('ce_weight', 'kd_weight'):
        assert head.get(key, {'ce_weight': 0.9, 'kd_weight': 0.1}[key]) == expected[key]
    assert head.get('discrepancy') == expected['discrepancy']


def test_byot_weighs_the_last_exit_with_one_minus_alpha():
    config = Config.fromfile(OF_VARIANT['byot'])
    assert config.model.student.head.loss.loss_weight == 0.9
    distiller = get_model(config)
    assert [exit.loss_module.loss_weight for exit in distiller.head.exits] == [1.0, 1.0, 1.0]


def test_the_shipped_configs_score_64_locations_and_every_one_is_a_line_away():
    for name, locations in (
        ('muse/resnet18_cifar100_mi_x_si', 64),
        ('examples/resnet18_cifar100_mi_x_si_all_locations', None),
    ):
        config = Config.fromfile(CONFIGS / f'{name}.py')
        assert config.model.head.discrepancy.critic.num_locations == locations


@pytest.mark.parametrize('name', ['swin-tiny_in1k_mi_x_si', 'convnext-tiny_in1k_mi_x_si'])
def test_the_examples_distil_mmpretrains_own_configs(name):
    distiller = get_model(Config.fromfile(CONFIGS / 'examples' / f'{name}.py'))
    assert len(distiller.head.exits) == 3
    assert distiller.tap_paths.last == 'backbone.norm3'


def test_the_recipe_is_the_papers():
    config = Config.fromfile(CONFIGS / 'baselines' / 'resnet18_cifar100.py')
    assert config.optim_wrapper.optimizer == dict(
        type='SGD', lr=0.1, momentum=0.9, weight_decay=5e-4
    )
    assert config.param_scheduler.milestones == [75, 130, 180]
    assert config.train_cfg.max_epochs == 200
    assert config.train_dataloader.batch_size == 128
