"""From a plain config to a distilled one, in one command."""

import re
import shlex
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from mmengine.config import Config
from mmpretrain import get_model

from mmmuse.command_line.config import load_config
from mmmuse.registry import MODELS

from ..conftest import labelled, small_classifier_config
from ..test_teachers.networks import folder

RESNET = 'mmpretrain::resnet/resnet18_8xb32_in1k.py'


def test_a_resnet_config_gets_the_papers_own_cut(tool, tmp_path):
    out = tmp_path / 'my_config.py'
    finished = tool('wrap.py', RESNET, '--out', out)
    assert finished.code == 0, finished.err
    rows = {line.split()[0]: line for line in finished.out.splitlines() if 'backbone' in line}
    assert len(re.findall('^  (backbone|head)', finished.out, re.MULTILINE)) == 8
    assert re.search(r'^\d\d other modules can be tapped; --all lists them$', finished.out, re.M)
    assert 'module 1' in rows['backbone.layer1']
    assert '512 x 7 x 7' in rows['backbone.layer4']  # Of images of 224 pixels, as in the config.
    assert 'last feature' in rows['backbone.layer4']
    assert 'resolution falls' in rows['backbone.layer2.0.conv1']
    assert 'backbone.bn1' not in rows  # Its output is changed in place.
    config = Config.fromfile(out)
    assert config.model.taps == dict(
        modules=['backbone.layer1', 'backbone.layer2', 'backbone.layer3'],
        last='backbone.layer4',
        logits='head',
    )
    assert config.model.input_shape == [3, 224, 224]
    assert config.model.student.backbone.depth == 18
    assert config.val_evaluator[0].type == 'Accuracy'
    distiller = get_model(config)
    assert len(distiller.muse.exits) == 3


def test_every_module_is_listed_on_request(tool, tmp_path):
    config = 'configs/demo/resnet18_digits.py'
    finished = tool('wrap.py', config, '--all', '--out', tmp_path / 'out.py')
    assert finished.code == 0, finished.err
    rows = [line.split()[0] for line in finished.out.splitlines() if line.startswith('  backbone')]
    assert len(rows) > 30
    assert 'backbone.layer3.1.conv1' in rows
    assert 'other modules' not in finished.out


def test_a_config_that_train_refuses_is_not_written(tool, only_error, tmp_path):
    (tmp_path / 'plain.py').write_text(
        f'_base_ = {str(Path("configs/demo/resnet18_digits.py").resolve())!r}\n'
        'custom_hook = [dict(type="EMAHook")]\n',
        encoding='utf-8',
    )
    before = sorted(tmp_path.iterdir())
    said = only_error(tool('wrap.py', tmp_path / 'plain.py', '--out', tmp_path / 'out.py'))
    assert "unknown config key 'custom_hook'; did you mean 'custom_hooks'?" in said
    assert sorted(tmp_path.iterdir()) == before


def test_a_flat_config_is_wrapped_into_one_that_train_accepts(tool, tmp_path):
    flat = tmp_path / 'flat.py'
    Config.fromfile('configs/demo/resnet18_digits.py').dump(flat)
    flat.write_text(flat.read_text(encoding='utf-8') + '\nmy_lr = [0.125]\n', encoding='utf-8')
    assert tool('wrap.py', flat, '--modules', 2, '--out', tmp_path / 'out.py').code == 0
    options = ['train_dataloader.dataset.indices=128', 'train_cfg.max_epochs=1']
    flags = ['--work-dir', tmp_path / 'run', '--cfg-options', *options]
    finished = tool('train.py', tmp_path / 'out.py', *flags)
    assert finished.code == 0, finished.err
    assert 'these keys have no effect: my_lr (' in finished.err


@pytest.mark.parametrize(
    ('variant', 'exits', 'discrepancies'),
    [('ce_kd', 3, 0), ('mi', 0, 1), ('l2', 0, 1), ('byot', 3, 1)],
)
def test_a_config_of_ones_own_is_wrapped_by_relative_path(
    tool, tmp_path, variant, exits, discrepancies
):
    out = tmp_path / 'my_config.py'
    finished = tool(
        'wrap.py', 'configs/demo/resnet18_digits.py', '--variant', variant, '--out', out
    )
    assert finished.code == 0, finished.err
    distiller = get_model(Config.fromfile(out))
    assert len(distiller.muse.exits) == exits
    assert len(distiller.muse.discrepancies) == discrepancies


def test_a_wrapped_config_trains(tool, tmp_path):
    out = tmp_path / 'my_config.py'
    assert (
        tool('wrap.py', 'configs/demo/resnet18_digits.py', '--modules', 3, '--out', out).code == 0
    )
    finished = tool(
        'train.py',
        out,
        '--work-dir',
        tmp_path / 'run',
        '--cfg-options',
        'train_dataloader.dataset.indices=128',
        'train_cfg.max_epochs=1',
    )
    assert finished.code == 0, finished.err
    assert 'exit3/top1' in finished.out
    assert 'exit4/top1' not in finished.out


def test_the_printed_command_can_be_pasted(tool, tmp_path):
    out = tmp_path / 'my (own) config.py'
    finished = tool('wrap.py', 'configs/demo/resnet18_digits.py', '--out', out)
    assert finished.code == 0, finished.err
    command = finished.out.splitlines()[-1].partition('train it with: ')[2]
    assert shlex.split(command) == ['mmmuse', 'train', str(out)]


def test_taps_auto_is_the_same_proposal(tmp_path):
    config = Config.fromfile('configs/demo/resnet18_digits_mi_x_si.py')
    named = get_model(config)
    config.model.taps = 'auto'
    assert get_model(config).tap_paths == named.tap_paths


@pytest.mark.parametrize(
    ('arguments', 'said'),
    [
        (['configs/nowhere.py'], 'no config file configs/nowhere.py'),
        (['mmpretrain::resnet/nowhere.py'], 'no config mmpretrain::resnet/nowhere.py'),
        (['configs/_base_/default_runtime.py'], 'has no model to wrap'),
        (['configs/demo/resnet18_digits_mi_x_si.py'], 'is already distilled'),
        (['mmpretrain::dinov2/vit-small-p14_dinov2-pre_headless.py'], 'has no head'),
        (
            ['configs/demo/resnet18_digits.py', '--input-shape', '1', '0', '0'],
            'set input_shape to the (C, H, W) of its images',
        ),
        (['configs/demo/resnet18_digits.py', '--modules', '60'], 'modules at most, not 60'),
        (['configs/demo/resnet18_digits.py', '--modules', '1'], 'at least 2 modules'),
    ],
)
def test_what_cannot_be_wrapped_is_refused(tool, only_error, tmp_path, arguments, said):
    assert said in only_error(tool('wrap.py', *arguments, '--out', tmp_path / 'out.py'))
    assert list(tmp_path.iterdir()) == []


def test_an_existing_file_is_not_overwritten(tool, only_error, tmp_path):
    out = tmp_path / 'out.py'
    out.write_text('mine')
    assert 'exists' in only_error(tool('wrap.py', RESNET, '--out', out))
    assert out.read_text() == 'mine'


def test_a_backbone_is_wrapped_for_images_without_labels_and_a_broken_file_is_counted(
    tool, tmp_path
):
    config, teacher = 'configs/demo/resnet18_digits.py', tmp_path / 'teacher.pth'
    torch.save(dict(state_dict=get_model(Config.fromfile(config)).state_dict()), teacher)
    (tmp_path / 'images').mkdir()
    for i in range(30):  # Too few to hold some out.
        cv2.imwrite(str(tmp_path / 'images' / f'{i}.png'), np.random.randint(0, 256, (9, 8)))
    (tmp_path / 'images' / 'broken.png').write_bytes(b'no image')
    out = tmp_path / 'out.py'
    flags = ['--teacher', config, '--teacher-checkpoint', teacher]
    finished = tool('wrap.py', config, *flags, '--unlabelled', tmp_path / 'images', '--out', out)
    assert finished.code == 0, finished.err
    assert 'train it with: mmmuse train' in finished.out
    options = ['train_cfg.max_epochs=1', 'train_dataloader.num_workers=0']
    options += ['train_dataloader.drop_last=False']
    flags = ['--work-dir', tmp_path / 'run', '--cfg-options', *options]
    finished = tool('train.py', out, *flags)
    assert finished.code == 0, finished.err
    assert 'broken.png: not an image; skipped, 1 so far' in finished.out + finished.err
    files = {path.name for path in (tmp_path / 'run').glob('*.p*')}
    assert files == {'epoch_1.pth', 'epoch_1.backbone.pth', 'student.py', 'out.py'}


def test_a_teacher_by_name_is_written_and_trained_from_another_folder(tool, tmp_path):
    teacher = folder('vit', weights=True)
    out = tmp_path / 'taught.py'
    plain = 'configs/demo/resnet18_digits.py'
    finished = tool('wrap.py', plain, '--teacher', f'transformers::{teacher}', '--out', out)
    assert finished.code == 0, finished.err
    assert '# Without KD: the student has 10 classes and the teacher 5.' in finished.out
    sizes = ['train_dataloader.dataset.indices=64', 'val_dataloader.dataset.indices=60']
    flags = ['--work-dir', tmp_path / 'run', '--cfg-options', 'train_cfg.max_epochs=1', *sizes]
    trained = tool('train.py', out, *flags)
    assert trained.code == 0, trained.err


def test_a_config_as_teacher_brings_kd(tool, tmp_path):
    plain, weights = 'configs/demo/resnet18_digits.py', tmp_path / 'teacher.pth'
    torch.save(get_model(plain).state_dict(), weights)
    out = tmp_path / 'taught.py'
    flags = ['--teacher', plain, '--teacher-checkpoint', weights, '--out', out]
    finished = tool('wrap.py', plain, *flags)
    assert finished.code == 0, finished.err
    model = Config.fromfile(out).model
    assert [loss.type for loss in model.losses] == ['mmmuse.KDLoss', 'mmmuse.MUSELoss']
    assert model.teacher_taps == dict(last='backbone.layer4', logits='head')


@pytest.mark.parametrize(
    ('student', 'teacher', 'losses'),
    [
        ('pixels', 'pixels', ['mmmuse.KDLoss', 'mmmuse.MUSELoss']),
        ('one_logit', 'one_logit', ['mmmuse.BinaryKDLoss', 'mmmuse.MUSELoss']),
        ('pixels', 'images', ['mmmuse.MUSELoss']),
        ('images', 'pixels', ['mmmuse.MUSELoss']),
    ],
)
def test_segmenters_learn_and_teach(tool, tmp_path, student, teacher, losses):
    pytest.importorskip('mmseg')
    from ..test_segmentation.segmenters import batch, segmenter_config

    one_logit = segmenter_config('pspnet')
    for head in (one_logit['decode_head'], one_logit['auxiliary_head']):
        head.update(num_classes=2, out_channels=1, threshold=0.5)
        head['loss_decode'].update(use_sigmoid=True)
    models = dict(
        pixels=segmenter_config('pspnet'),
        one_logit=one_logit,
        images=dict(
            small_classifier_config(), data_preprocessor=dict(mean=[0.0] * 3, std=[1.0] * 3)
        ),
    )
    scopes = dict(pixels='mmseg', one_logit='mmseg', images='mmpretrain')
    files = {}
    for name in {student, teacher}:
        files[name] = tmp_path / f'{name}.py'
        Config(dict(default_scope=scopes[name], model=models[name])).dump(files[name])
    torch.save(MODELS.build(models[teacher]).state_dict(), tmp_path / 'teacher.pth')
    out = tmp_path / 'taught.py'
    flags = ['--teacher', files[teacher], '--teacher-checkpoint', tmp_path / 'teacher.pth']
    finished = tool('wrap.py', files[student], *flags, '--out', out)
    assert finished.code == 0, finished.err
    model = Config.fromfile(out).model
    assert [loss.type for loss in model.losses] == losses
    distiller = MODELS.build(load_config(str(out), {}).model).train()
    data = dict(inputs=torch.randn(4, 3, 32, 32), data_samples=labelled([0, 1, 2, 3]))
    if student != 'images':
        data = batch(distiller)
        for sample in data['data_samples']:
            sample.gt_sem_seg.data = sample.gt_sem_seg.data.clamp(max=1)
    total, log = distiller.parse_losses(distiller(**data, mode='loss'))
    assert total.isfinite()
    assert ('loss_kd' in log) == (len(losses) == 2)


@pytest.mark.parametrize(
    ('flags', 'message'),
    [
        (['--teacher', 'none.py', '--teacher-checkpoint', 'x'], "no teacher's config file none.py"),
        (['--teacher', RESNET], 'is a config: give its weights by --teacher-checkpoint'),
        (['--teacher-checkpoint', 'x.pth'], '--teacher-checkpoint is the file of a --teacher'),
        (['--teacher', 'timm::resnet18', '--variant', 'mi'], 'give it or --teacher, not both'),
        (['--teacher', 'timm::resnet18', '--teacher-checkpoint', 'none.pth'], 'no checkpoint file none'),
        (['--teacher', 'timm::resnet81'], "timm has no network 'resnet81'; nearest: resnet18"),
    ],
)  # fmt: skip
def test_a_teacher_that_cannot_be_used_is_one_line(tool, only_error, tmp_path, flags, message):
    if 'timm has' in message:
        pytest.importorskip('timm')
    plain = 'configs/demo/resnet18_digits.py'
    assert message in only_error(tool('wrap.py', plain, *flags, '--out', tmp_path / 'out.py'))
    assert not list(tmp_path.iterdir())
