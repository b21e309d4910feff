"""Configs of any project can name ours: ``mmmuse::folder/file.py``."""

import re
import subprocess
import sys
from pathlib import Path

import mmengine.hub
import pytest
import torch
from mmengine.config import Config
from mmpretrain.models import ImageClassifier

from mmmuse.checkpoints.packaged_config import packaged_file
from mmmuse.command_line.config import load_config
from mmmuse.compat.shipped_configs import configs_folder
from mmmuse.detection import DetectionSelfDistiller
from mmmuse.distillers import SelfDistiller
from mmmuse.errors import InputError
from mmmuse.registry import MODELS

MUSE = 'mmmuse::muse/resnet18_cifar100_mi_x_si.py'


def in_new_process(code: str, folder: Path) -> str:
    run = subprocess.run(
        [sys.executable, '-c', code], cwd=folder, capture_output=True, text=True, timeout=300
    )
    assert run.returncode == 0, run.stderr
    return run.stdout.strip()


@pytest.fixture
def config(tmp_path):
    """A function that writes a config of a user's own, with the given lines."""

    def write(*lines: str) -> Path:
        path = tmp_path / 'own.py'
        path.write_text('\n'.join(lines) + '\n')
        return path

    return write


def test_our_config_is_a_base_of_any_config(config):
    own = Config.fromfile(config(f'_base_ = [{MUSE!r}]', 'train_cfg = dict(max_epochs=3)'))
    shipped = Config.fromfile(configs_folder() / 'muse' / 'resnet18_cifar100_mi_x_si.py')
    assert own.model.student.backbone == shipped.model.student.backbone
    assert own.train_cfg.max_epochs == 3
    assert own.optim_wrapper.optimizer.lr == 0.1


@pytest.mark.slow
def test_its_parts_are_found_in_a_scope_that_has_none_of_them(config):
    own = Config.fromfile(config(f'_base_ = [{MUSE!r}]', "default_scope = 'mmdet'"))
    assert own.default_scope == 'mmdet'
    distiller = MODELS.build(own.model)
    assert type(distiller.student) is ImageClassifier
    assert len(distiller.muse.exits) == 3


def test_a_base_without_a_library_is_not_marked_with_one(config):
    own = Config.fromfile(config("_base_ = ['mmmuse::_base_/schedules/cifar_200e.py']"))
    assert '_scope_' not in own.param_scheduler


@pytest.mark.parametrize('scope', ['mmpretrain', 'mmdet'])
def test_what_is_given_to_a_function_is_not_marked(scope):
    """MMEngine calls the function with all keys, and ``_scope_`` is none of its arguments."""
    base = dict(
        train_dataloader=dict(dataset=dict(type='A'), collate_fn=dict(type='default_collate')),
        optim_wrapper=dict(optimizer=dict(type='SGD'), clip_grad=dict(type='value')),
    )
    marked = Config._dict_to_config_dict(base, scope=scope)
    assert marked.train_dataloader.to_dict() == {
        'dataset': {'type': 'A', '_scope_': scope},
        'collate_fn': {'type': 'default_collate'},
    }
    assert marked.optim_wrapper.to_dict() == {
        'optimizer': {'type': 'SGD', '_scope_': scope},
        'clip_grad': {'type': 'value'},
    }


NAMES_A_CONFIG = re.compile(r"\b(teacher|student|model)='[^']*\.py'")
NAMING = [
    path.relative_to(configs_folder()).as_posix()
    for path in sorted(configs_folder().rglob('*.py'))
    if NAMES_A_CONFIG.search(path.read_text(encoding='utf-8'))
]


@pytest.mark.parametrize('name', NAMING)
def test_a_config_that_names_another_one_is_a_base_in_any_folder(config, name):
    own = load_config(str(config(f"_base_ = ['mmmuse::{name}']")), {})
    shipped = load_config(str(configs_folder() / name), {})
    assert own.model.type == shipped.model.type


def test_other_scopes_are_marked_as_before(config):
    own = Config.fromfile(config("_base_ = ['mmpretrain::_base_/models/resnet18.py']"))
    assert own.model._scope_ == 'mmpretrain'


def test_a_base_of_another_package_is_found_without_its_index(config, monkeypatch):
    reference = Config.fromfile(packaged_file('mmdet::retinanet/retinanet_r50_fpn_1x_coco.py'))
    monkeypatch.setattr('mmengine.config.utils.load', pytest.fail)
    own = config("_base_ = ['mmdet::retinanet/retinanet_r50_fpn_1x_coco.py']")
    assert Config.fromfile(own).model.backbone.depth == reference.model.backbone.depth == 50


def test_what_is_not_in_the_folder_of_a_package_is_left_to_mmengine(config):
    with pytest.raises(FileNotFoundError, match=r'mmdet.*nowhere\.py'):
        Config.fromfile(config("_base_ = ['mmdet::retinanet/nowhere.py']"))
    with pytest.raises(ModuleNotFoundError, match='mmyolo is not installed'):
        Config.fromfile(config("_base_ = ['mmyolo::yolov5/x.py']"))


def test_the_teacher_of_a_config_of_ours_is_found_from_any_folder(config, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    base = "_base_ = ['mmmuse::offline/resnet56-resnet20_cifar100_kd.py']"
    own = load_config(str(config(base, 'model = dict(teacher_checkpoint=None)')), {})
    assert own.model.type == 'mmmuse.OfflineDistiller'
    assert own.model.teacher.backbone.depth == 56


@pytest.mark.slow
@pytest.mark.parametrize('first', ['import mmmuse', 'import mmengine.config'])
def test_it_works_whether_mmengine_is_imported_before_or_after(first, config, tmp_path):
    path = config(f'_base_ = [{MUSE!r}]')
    code = (
        f'{first}\nimport mmmuse\nfrom mmengine.config import Config\n'
        f'print(Config.fromfile({str(path)!r}).model.type)'
    )
    assert in_new_process(code, tmp_path) == 'mmmuse.SelfDistiller'


@pytest.mark.slow
def test_importing_the_package_does_not_import_mmengine(tmp_path):
    code = 'import sys, mmmuse\nprint([m for m in ("mmengine", "torch") if m in sys.modules])'
    assert in_new_process(code, tmp_path) == '[]'


@pytest.mark.slow
def test_the_hub_reads_and_builds_a_classifier():
    config = mmengine.hub.get_config(MUSE)
    assert config.model.type == 'mmmuse.SelfDistiller'
    model = mmengine.hub.get_model(MUSE)
    assert isinstance(model, SelfDistiller)
    assert model.student.head.num_classes == 100


def test_the_hub_builds_a_plain_classifier():
    model = mmengine.hub.get_model('mmmuse::baselines/resnet20_cifar100.py')
    assert model(torch.zeros(2, 3, 32, 32)).shape == (2, 100)


@pytest.mark.slow
def test_the_hub_builds_a_detector():
    model = mmengine.hub.get_model('mmmuse::detection/yolov5_n_bccd_mi_x_si.py')
    assert isinstance(model, DetectionSelfDistiller)
    assert type(model.student.backbone).__module__.startswith('mmdet.')


@pytest.mark.parametrize(
    ('name', 'message'),
    [
        ('mmpretrian::resnet/x.py', "no package 'mmpretrian' .*; did you mean mmpretrain::resnet/"),
        ('mmyolo::yolov5/x.py', 'the package mmyolo is not installed'),
        (
            'mmmuse::muse/resnet18_cifar100_mi_si.py',
            "no config mmmuse::muse/resnet18_cifar100_mi_si.py .*; did you mean 'muse/resnet18_",
        ),
        ('mmpretrain::resnet/nowhere.py', 'no config mmpretrain::resnet/nowhere.py'),
    ],
)
@pytest.mark.parametrize('as_base', [True, False], ids=['base', 'config'])
def test_a_name_that_does_not_resolve_is_one_line(name, message, as_base, config):
    path = str(config(f'_base_ = [{name!r}]')) if as_base else name
    with pytest.raises(InputError, match=message):
        load_config(path, {})


def test_a_base_of_a_base_that_does_not_resolve_is_one_line(config, tmp_path):
    (tmp_path / 'middle.py').write_text("_base_ = 'mmyolo::yolov5/x.py'\n")
    with pytest.raises(InputError, match=r'mmyolo::yolov5/x\.py: the package mmyolo is not'):
        load_config(str(config("_base_ = 'middle.py'")), {})
