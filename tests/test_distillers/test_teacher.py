import copy

import numpy as np
import pytest
import torch
from mmengine.config import Config

from mmmuse.checkpoints.network_config import network_config
from mmmuse.distillers.teacher import build_teacher_network
from mmmuse.errors import InputError
from mmmuse.registry import MODELS

from ..test_hooks.test_student_checkpoint import assert_same
from .transfer import network, offline

BASELINE = 'configs/baselines/resnet20_cifar100.py'


@pytest.fixture
def weights() -> dict:
    return MODELS.build(network()).state_dict()


def saved(tmp_path, content) -> str:
    path = tmp_path / 'teacher.pth'
    torch.save(content, path)
    return str(path)


@pytest.mark.parametrize('kind', ['plain', 'state_dict', 'module', 'distiller', 'without counts'])
def test_weights_are_read_however_they_were_saved(kind, weights, tmp_path):
    content = {
        'plain': weights,
        'state_dict': dict(state_dict=weights, meta=dict(epoch=3)),
        'module': {f'module.{name}': value for name, value in weights.items()},
        'distiller': {f'student.{name}': value for name, value in weights.items()}
        | {'muse.exits.0.fc.weight': torch.zeros(1)},
        'without counts': {
            name: value for name, value in weights.items() if 'num_batches' not in name
        },
    }[kind]
    found = build_teacher_network(network(), saved(tmp_path, content)).state_dict()
    assert_same(found, weights)


def test_a_built_teacher_is_copied_with_its_weights():
    built = MODELS.build(network())
    found = build_teacher_network(built, None)
    assert found is not built
    assert_same(found.state_dict(), built.state_dict())
    assert all(value.requires_grad for value in built.parameters())


@pytest.mark.parametrize(
    'source', [BASELINE, Config.fromfile(BASELINE), Config.fromfile(BASELINE).model]
)
def test_a_config_is_a_path_a_whole_config_or_a_model(source):
    model = network_config(source)
    assert model['backbone'] == dict(type='mmmuse.SmallResNetCIFAR', depth=20)
    assert MODELS.build({'_scope_': 'mmpretrain', **model}).head.num_classes == 100
    if source is not None and not (isinstance(source, dict) and 'type' in source):
        assert model['data_preprocessor']['mean'] == [129.3105, 124.1085, 112.404]


def test_a_config_of_an_installed_package():
    model = network_config('mmpretrain::resnet/resnet18_8xb32_in1k.py')
    assert model['backbone']['depth'] == 18
    assert model['_scope_'] == 'mmpretrain'


def test_of_a_distilled_config_the_student_is_the_network():
    model = network_config('configs/muse/resnet18_cifar100_mi_x_si.py')
    assert model['type'] == 'ImageClassifier'
    assert model['backbone']['depth'] == 18


@pytest.mark.parametrize(
    ('source', 'message'),
    [
        (
            'none.py',
            r"no config file none\.py; mmmuse train resolves it relative to the config's",
        ),
        ('mmpretrain::none.py', r'no config mmpretrain::none\.py in an installed package'),
        (dict(optimizer=1), r'is not the config of a model'),
    ],
)
def test_an_invalid_config_is_refused(source, message):
    with pytest.raises(InputError, match=message):
        network_config(source)


def test_a_missing_file_is_named():
    with pytest.raises(InputError, match=r'^teacher_checkpoint none\.pth: no checkpoint file'):
        build_teacher_network(network(), 'none.pth')


def test_a_truncated_file_is_named(weights, tmp_path):
    path = saved(tmp_path, weights)
    with open(path, 'r+b') as file:
        file.truncate(1000)
    with pytest.raises(InputError, match=r'^teacher_checkpoint .*is truncated or not a checkpoint'):
        build_teacher_network(network(), path)


def test_a_file_of_another_network_names_the_tensors(weights, tmp_path):
    path = saved(tmp_path, weights)
    with pytest.raises(InputError) as error:
        build_teacher_network(network(num_classes=7), path)
    said = str(error.value)
    assert said.startswith(f'teacher_checkpoint {path}: the checkpoint is of another network')
    assert 'head.fc.weight ((7, 16) in the model, (5, 16) in the file)' in said


def test_a_file_that_would_run_code_is_refused_unless_trusted(weights, tmp_path, monkeypatch):
    path = saved(tmp_path, dict(state_dict=weights, best=np.arange(3)[::2].view(np.recarray)))
    with pytest.raises(InputError, match=r'holds more than weights.*trust_teacher=True'):
        build_teacher_network(network(), path)
    monkeypatch.setenv('TORCH_FORCE_WEIGHTS_ONLY_LOAD', '1')  # As the tools set it.
    found = build_teacher_network(network(), path, trust=True)
    assert_same(found.state_dict(), weights)


def test_the_conversion_of_a_copy_leaves_the_constants_of_the_original():
    def preprocessor(mean: float, std: float) -> dict:
        return dict(type='ClsDataPreprocessor', mean=[mean] * 3, std=[std] * 3, to_rgb=True)

    teacher = MODELS.build({**network(6), 'data_preprocessor': preprocessor(129.3, 68.2)})
    student = {**network(), 'data_preprocessor': preprocessor(123.675, 58.395)}
    distiller = offline(dict(type='mmmuse.KDLoss'), student=student, teacher=teacher)
    before = distiller.teacher.conversion.scale.clone()
    averaged = copy.deepcopy(distiller).bfloat16()
    assert averaged.teacher.conversion.scale.dtype == torch.bfloat16
    assert torch.equal(distiller.teacher.conversion.scale, before)
    assert distiller.teacher.conversion.scale.dtype == torch.float32
