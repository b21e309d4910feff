"""What MMEngine runs is not refused for its keys; what is surely a mistake is."""

import json
from pathlib import Path

import pytest
from mmengine.config import Config

from mmmuse.command_line.config import load_config
from mmmuse.errors import InputError
from tests.installed_configs import check, installed_configs

ROOT = Path(__file__).resolve().parents[2]
RESNET = 'mmpretrain::resnet/resnet18_8xb16_cifar10.py'


def write(folder: Path, **files: str) -> Path:
    """Write config files by their names, and return the path of the first."""
    for name, text in files.items():
        (folder / f'{name}.py').write_text(text, encoding='utf-8')
    return folder / f'{next(iter(files))}.py'


def refused(path: Path, options: dict | None = None) -> str:
    with pytest.raises(InputError) as error:
        load_config(str(path), options or {})
    return str(error.value)


@pytest.mark.parametrize(
    ('package', 'number'),
    [('mmpretrain', number) for number in range(20)] + [('mmdet', number) for number in range(20)],
)
def test_a_config_of_a_package_is_accepted_as_it_is_and_flat(package, number):
    """Every so many of those with the shortest names, which inherit from few files."""
    files = sorted(installed_configs(package), key=lambda file: (len(file.name), file.name))[:200]
    checked = check(files[10 * number])
    assert (checked.unreadable, checked.refused) == ('', '')


def test_a_flat_config_of_known_variables_is_accepted_silently(tmp_path, capsys):
    write(tmp_path, child=f'_base_ = [{RESNET!r}]\n')
    Config.fromfile(tmp_path / 'child.py').dump(tmp_path / 'flat.py')
    config = load_config(str(tmp_path / 'flat.py'), {})
    assert 'train_pipeline' in config
    assert capsys.readouterr().err == ''


@pytest.mark.parametrize('suffix', ['.json', '.yaml'])
def test_variables_of_a_dumped_config_are_accepted(tmp_path, suffix):
    path = tmp_path / f'flat{suffix}'
    path.write_text(json.dumps(dict(model=dict(a=1), my_lr=[1], data_root='x')), encoding='utf-8')
    assert load_config(str(path), {}).my_lr == [1]
    path.write_text(json.dumps(dict(model=dict(a=1), tarin_cfg=1)), encoding='utf-8')
    assert refused(path) == "unknown config key 'tarin_cfg'; did you mean 'train_cfg'?"


@pytest.mark.parametrize('in_base', [False, True])
def test_a_key_that_may_be_of_another_tool_is_warned_of(tmp_path, capsys, in_base):
    text = 'my_lr = [0.125]\nmodel = dict(width=[1])\n'
    path = write(tmp_path, config="_base_ = 'base.py'\n" if in_base else text, base=text)
    assert load_config(str(path), {}).my_lr == [0.125]
    assert capsys.readouterr().err == (
        f'warning: {path}: these keys have no effect: my_lr (variables that the file does not use, or '
        'keys of another tool)\n'
    )


def test_a_constant_of_a_base_that_another_child_uses_is_accepted(tmp_path, capsys):
    path = write(
        tmp_path,
        child="_base_ = 'base.py'\nmodel = dict(classes=_base_.num_classes)\n",
        base='num_classes = 10\nimage_size = 224\n',
    )
    assert load_config(str(path), {}).model.classes == 10
    assert 'no effect: image_size (' in capsys.readouterr().err


def test_a_changed_variable_of_a_flat_config_is_warned_of(tmp_path, capsys):
    flat = 'train_pipeline = [dict(type="A")]\nmodel = dict(a=1)\ntrain_dataloader = dict(dataset=dict(pipeline=[dict(type="A")], type="X"), sampler=dict(type="Y"))\n'
    path = write(
        tmp_path, child="_base_ = 'flat.py'\ntrain_pipeline = [dict(type='B')]\n", flat=flat
    )
    load_config(str(tmp_path / 'flat.py'), {})
    assert capsys.readouterr().err == ''
    load_config(str(path), {})
    assert 'no effect: train_pipeline (' in capsys.readouterr().err


@pytest.mark.parametrize(
    ('line', 'nearest'),
    [
        ('val_dataloder = 1', 'val_dataloader'),
        ('custom_hook = [1]', 'custom_hooks'),
        ('paramscheduler = 1', 'param_scheduler'),
        ('mdoel = 1', 'model'),
        ('env_cfg = dict(cudnn_benchmarks=True)', 'cudnn_benchmark'),
    ],
)
def test_a_key_one_or_two_letters_from_a_known_one_is_refused(tmp_path, line, nearest):
    assert f'did you mean {nearest!r}?' in refused(write(tmp_path, config=f'{line}\n'))


@pytest.mark.parametrize('key', ['conv_cfg', 'bn_cfg', 'val_pipeline', 'models_', 'train_ann'])
def test_a_short_word_that_resembles_a_key_is_no_mistake(tmp_path, key):
    assert load_config(str(write(tmp_path, config=f'{key} = dict(a=3)\n')), {})[key] == dict(a=3)


def test_who_sets_a_key_did_not_mistype_it_in_the_same_file(tmp_path):
    text = "model = dict(a=1)\nmode = 'train'\ntest_cfg = dict()\ntext_cfg = dict(length=3)\n"
    assert load_config(str(write(tmp_path, config=text)), {}).mode == 'train'


def test_keys_of_a_part_that_mmengine_ignores_are_warned_of(tmp_path, capsys):
    path = write(tmp_path, config='env_cfg = dict(num_gpus=8)\nauto_scale_lr = dict(note=1)\n')
    load_config(str(path), {})
    assert 'no effect: env_cfg.num_gpus, auto_scale_lr.note (' in capsys.readouterr().err


@pytest.mark.parametrize('key', ['my_lr', 'env_cfg.num_gpus', 'auto_scale_lr.note'])
def test_an_option_that_nothing_reads_is_refused(tmp_path, key):
    path = write(tmp_path, config='model = dict(a=1)\nmy_lr = 3\n')
    assert f'unknown config key {key!r}' in refused(path, {key: 1})


def test_an_option_that_is_a_variable_of_the_file_says_what_to_set(tmp_path):
    path = write(tmp_path, config='size = 3\nmodel = dict(a=size)\n')
    assert 'set the keys that it is used for, or change the file' in refused(path, {'size': 1})


PURE_PYTHON = dict(
    child=(
        'from mmengine.config import read_base\n'
        'from torch.optim import SGD\n'
        'with read_base():\n    from .base import *\n'
        'model = dict(type=SGD, lr=rate)\n'
    ),
    base='rate = 0.5\nunused = [7]\n',
)


def test_a_pure_python_config_and_its_bases_are_read(tmp_path, capsys):
    config = load_config(str(write(tmp_path, **PURE_PYTHON)), {'train_cfg.max_epochs': 3})
    assert config.model == dict(type='torch.optim.sgd.SGD', lr=0.5)
    assert 'no effect: unused (' in capsys.readouterr().err
    mistyped = {**PURE_PYTHON, 'base': 'rate = 0.5\ntarin_cfg = 1\n'}
    assert "did you mean 'train_cfg'?" in refused(write(tmp_path, **mistyped))


def test_the_file_that_names_a_missing_base_is_named(tmp_path):
    path = write(tmp_path, child="_base_ = 'middle.py'\n", middle="_base_ = ['nope.py']\n")
    expected = f"{tmp_path / 'middle.py'}: cannot read its base 'nope.py': file not found"
    assert refused(path) == expected
    lazy = 'from mmengine.config import read_base\nwith read_base():\n    from .nope import *\n'
    path = write(tmp_path, lazy=lazy)
    assert refused(path).startswith(f'{path}: {tmp_path / "nope.py"} not found')


def test_a_text_config_that_inherits_from_a_pure_python_one_is_refused(tmp_path):
    path = write(tmp_path, config="_base_ = 'child.py'\n", **PURE_PYTHON)
    assert 'cannot inherit from each other' in refused(path)


def test_an_import_that_mmengine_does_not_take_is_one_line(tmp_path):
    child = 'import os, time\n' + PURE_PYTHON['child']
    message = refused(write(tmp_path, child=child, base=PURE_PYTHON['base']))
    assert (
        message == f'{tmp_path / "child.py"}: import multiple modules in one line is not supported'
    )


@pytest.mark.parametrize(
    'config',
    ['configs/demo/resnet18_digits_mi_x_si.py', 'configs/detection/yolov5_n_bccd.py'],
)
def test_an_optimizer_wrapper_of_ours_takes_the_optimizer_of_the_config(tmp_path, config):
    options = {'optim_wrapper.type': 'mmmuse.BFloat16OptimWrapper'}
    loaded = load_config(str(ROOT / config), options)
    assert loaded.optim_wrapper.optimizer.type == 'SGD'
    # The config that a run dumps is read again.
    loaded.dump(tmp_path / 'dumped.py')
    assert load_config(str(tmp_path / 'dumped.py'), {}).optim_wrapper == loaded.optim_wrapper
    wrong = refused(ROOT / config, {**options, 'optim_wrapper.accumulative_counts': 0.5})
    assert wrong.startswith('optim_wrapper.accumulative_counts is ')


@pytest.mark.parametrize('interval', [57300.0, 3])
def test_a_whole_number_may_be_a_quotient(tmp_path, interval):
    text = f"train_cfg = dict(type='IterBasedTrainLoop', max_iters=9, val_interval={interval})\n"
    assert load_config(str(write(tmp_path, config=text)), {}).train_cfg.val_interval == interval


def test_an_interval_with_a_fraction_is_refused(tmp_path):
    text = "train_cfg = dict(type='IterBasedTrainLoop', max_iters=9, val_interval=1.5)\n"
    assert 'train_cfg.val_interval is an integer of at least 1 or' in refused(
        write(tmp_path, config=text)
    )
