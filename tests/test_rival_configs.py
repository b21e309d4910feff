"""Every config of a rival, with and without MI x SI, builds, has what its name promises, and takes a step."""

from pathlib import Path

import pytest
import torch
from mmpretrain import get_model
from mmpretrain.structures import DataSample

from mmmuse.command_line.config import load_config
from mmmuse.registry import MODELS

from .test_configs import narrow

RIVALS = Path(__file__).resolve().parents[1] / 'configs' / 'rivals'
TYPES = {
    'cs_kd': 'mmmuse.CSKDDistiller',
    'ps_kd': 'mmmuse.PSKDDistiller',
    'ddgsd': 'mmmuse.DDGSDDistiller',
    'one': 'mmmuse.ONEDistiller',
    'frskd': 'mmmuse.FRSKDDistiller',
}
NAMES = [
    f'{network}_cifar100_{rival}' for network in ('resnet18', 'densenet121') for rival in TYPES
]
WITH_MUSE = {'model.head': 'mi_x_si'}


def test_no_config_is_missing_and_none_is_left_over():
    assert sorted(path.stem for path in RIVALS.glob('*.py')) == sorted(NAMES)


@pytest.mark.parametrize('with_muse', [False, True])
@pytest.mark.parametrize('name', NAMES)
def test_a_config_is_its_rival_with_or_without_muse(name, with_muse):
    network, _, rival = name.partition('_cifar100_')
    config = load_config(str(RIVALS / f'{name}.py'), WITH_MUSE if with_muse else {})
    muse = load_config(str(RIVALS.parent / 'muse' / f'{network}_cifar100_mi_x_si.py'), {})
    assert config.model.type == TYPES[rival]
    assert config.model.student == muse.model.student
    assert config.model.taps == muse.model.taps
    assert config.model.head == (muse.model.head if with_muse else None)
    assert config.model.neck == (muse.model.neck if with_muse else None)
    assert config.optim_wrapper == muse.optim_wrapper
    assert config.param_scheduler == muse.param_scheduler
    pairs = config.train_dataloader.sampler.type == 'mmmuse.ClassPairSampler'
    assert pairs == (rival == 'cs_kd')
    assert config.train_dataloader.batch_size == (256 if pairs else 128)
    assert config.data_preprocessor.get('num_views', 1) == (2 if rival == 'ddgsd' else 1)


@pytest.mark.parametrize('rival', TYPES)
def test_the_student_is_the_whole_densenet(rival):
    # tests/test_configs.py counts the parameters of every ResNet-18.
    config = load_config(str(RIVALS / f'densenet121_cifar100_{rival}.py'), {})
    with torch.device('meta'):
        student = MODELS.build(config.model.student)
    assert sum(parameter.numel() for parameter in student.parameters()) == 7_048_548


@pytest.mark.parametrize('options', [{}, WITH_MUSE], ids=['without', 'mi_x_si'])
@pytest.mark.parametrize('name', NAMES)
def test_a_config_takes_a_step_in_which_every_parameter_gets_a_gradient(name, options, hub):
    hub.update_info_dict(dict(epoch=1, max_epochs=200, iter=400, max_iters=80000))
    distiller = get_model(narrow(load_config(str(RIVALS / f'{name}.py'), options)))
    # Pairs of a class and two views of the same labels alike.
    samples = [DataSample().set_gt_label(7) for _ in range(4)]
    total, _ = distiller.parse_losses(distiller(torch.randn(4, 3, 16, 16), samples, mode='loss'))
    total.backward()
    missing = [key for key, value in distiller.named_parameters() if value.grad is None]
    assert missing == []


@pytest.mark.parametrize('name', NAMES)
def test_the_table_has_a_row_for_every_config(name):
    rows = (RIVALS / 'README.md').read_text().splitlines()
    assert len([row for row in rows if row.startswith(f'| `{name}.py` |')]) == 1
