"""OpenMMLab's own programs use a distilled run by the student.py in its work dir."""

import json
import os
import subprocess
import sys
from pathlib import Path

import cv2
import mmpretrain
import numpy as np
import pytest
import torch
from mmengine.config import Config
from mmpretrain import FeatureExtractor, ImageClassificationInferencer, get_model

from .conftest import run_command

PLAIN_TEST = Path(mmpretrain.__file__).parent / '.mim' / 'tools' / 'test.py'
WITHOUT_MMMUSE = """
import runpy, sys
import yapf.yapflib.yapf_api as yapf
sys.modules['mmmuse'] = None
sys.modules['mmdet'] = None  # Its import takes long, and mmpretrain does without.
# Laying the config out for the log takes as long as the test.
yapf.FormatCode = lambda text, **options: (text, True)
runpy.run_path({program!r}, run_name='__main__')
"""
CONFIG = """
default_scope = 'mmpretrain'
model = dict(
    type='ImageClassifier',
    backbone=dict(type='ResNet_CIFAR', depth=18, stem_channels=4, base_channels=4),
    neck=dict(type='GlobalAveragePooling'),
    head=dict({head}, num_classes=2, in_channels=32))
data_preprocessor = dict(mean=[120.0] * 3, std=[60.0] * 3)
pipeline = [
    dict(type='LoadImageFromFile'), dict(type='Resize', scale=16), dict(type='PackInputs')]
train_dataloader = dict(
    batch_size=4, num_workers=0, sampler=dict(type='DefaultSampler', shuffle=True),
    dataset=dict({data}, data_root={root!r}, pipeline=pipeline))
val_dataloader = dict(
    batch_size=4, num_workers=0, sampler=dict(type='DefaultSampler', shuffle=False),
    dataset=dict({data}, data_root={root!r}, pipeline=pipeline))
test_dataloader = val_dataloader
val_evaluator = dict({metric})
test_evaluator = val_evaluator
train_cfg = dict(by_epoch=True, max_epochs=1)
val_cfg = dict()
test_cfg = dict()
optim_wrapper = dict(optimizer=dict(type='SGD', lr=0.01))
"""
ONE_LABEL = dict(head="type='LinearClsHead'", data="type='CustomDataset'", metric="type='Accuracy'")
SEVERAL = dict(
    head="type='MultiLabelLinearClsHead'",
    data="type='MultiLabelDataset', ann_file='labels.json'",
    metric="type='MultiLabelMetric', average='micro'",
)


PURE_PYTHON = """
from mmcv.transforms import LoadImageFromFile, RandomFlip, Resize
from mmengine.config import read_base
from mmengine.dataset import DefaultSampler
from mmpretrain.datasets import CustomDataset
from mmpretrain.datasets.transforms import PackInputs
from mmpretrain.evaluation import Accuracy
from mmpretrain.models import GlobalAveragePooling, ImageClassifier, LinearClsHead, ResNet_CIFAR
from torch.optim import SGD

from mmmuse.distillers import SelfDistiller
from mmmuse.heads import MUSEHead
from mmmuse.hooks import InformationLoggerHook, StudentCheckpointHook, StudentConfigHook
from mmmuse.metrics import ExitAccuracy
from mmmuse.necks import SelfDistillNeck

default_scope = 'mmpretrain'
student = dict(
    type=ImageClassifier,
    backbone=dict(type=ResNet_CIFAR, depth=18, stem_channels=4, base_channels=4),
    neck=dict(type=GlobalAveragePooling),
    head=dict(type=LinearClsHead, num_classes=2, in_channels=32))
model = dict(
    type=SelfDistiller, student=student, taps='auto', input_shape=(3, 16, 16),
    neck=dict(type=SelfDistillNeck), head=dict(type=MUSEHead))
data_preprocessor = dict(mean=[120.0] * 3, std=[60.0] * 3)
pipeline = [dict(type=LoadImageFromFile), dict(type=Resize, scale=16), dict(type=PackInputs)]
train_dataloader = dict(
    batch_size=4, num_workers=0, sampler=dict(type=DefaultSampler, shuffle=True),
    dataset=dict(type=CustomDataset, data_root={root!r}, pipeline=pipeline))
val_dataloader = dict(
    batch_size=4, num_workers=0, sampler=dict(type=DefaultSampler, shuffle=False),
    dataset=dict(type=CustomDataset, data_root={root!r}, pipeline=pipeline))
test_dataloader = val_dataloader
val_evaluator = [dict(type=Accuracy, topk=(1,)), dict(type=ExitAccuracy)]
test_evaluator = val_evaluator
default_hooks = dict(information=dict(type=InformationLoggerHook))
custom_hooks = [dict(type=StudentCheckpointHook), dict(type=StudentConfigHook)]
train_cfg = dict(by_epoch=True, max_epochs=1)
val_cfg = dict()
test_cfg = dict()
optim_wrapper = dict(optimizer=dict(type=SGD, lr=0.01))
"""


def write_images(root: Path) -> None:
    """Eight images of two classes, dark and bright."""
    draw, labels = np.random.default_rng(0), []
    for i in range(8):
        path = root / f'class_{i % 2}' / f'{i}.png'
        path.parent.mkdir(parents=True, exist_ok=True)
        cv2.imwrite(str(path), draw.integers(0, 128, (20, 20, 3), np.uint8) + 127 * (i % 2))
        name = str(path.relative_to(root))
        labels.append(dict(img_path=name, gt_label=[0, 1] if i % 4 == 3 else [i % 2]))
    classes = ['class_0', 'class_1']
    content = dict(metainfo=dict(classes=classes), data_list=labels)
    (root / 'labels.json').write_text(json.dumps(content))


def distilled_run(folder: Path, parts: dict) -> Path:
    """Wrap a config of the user's own, train it, and return the work dir."""
    write_images(folder / 'images')
    plain = folder / 'plain.py'
    plain.write_text(CONFIG.format(root=str(folder / 'images'), **parts))
    out = folder / 'muse.py'
    assert run_command('wrap.py', plain, '--input-shape', 3, 16, 16, '--out', out) == 0
    assert run_command('train.py', out, '--work-dir', folder / 'run') == 0
    return folder / 'run'


@pytest.fixture(scope='module')
def run(tmp_path_factory) -> Path:
    return distilled_run(tmp_path_factory.mktemp('one_label'), ONE_LABEL)


@pytest.fixture(scope='module')
def multi_label(tmp_path_factory) -> Path:
    return distilled_run(tmp_path_factory.mktemp('several_labels'), SEVERAL)


def our_metrics(run: Path, config: Path, *flags: str) -> dict:
    out = run.parent / f'{config.stem}{"".join(flags)}.json'
    options = ['--work-dir', run.parent / 'test', '--out', out, '--out-item', 'metrics', *flags]
    assert run_command('test.py', config, run / 'epoch_1.pth', *options) == 0
    return json.loads(out.read_text())


def test_mmpretrains_own_test_needs_no_mmmuse(run, tmp_path):
    out = tmp_path / 'metrics.json'
    code = WITHOUT_MMMUSE.format(program=str(PLAIN_TEST))
    flags = ['--work-dir', str(tmp_path), '--out', str(out), '--out-item', 'metrics']
    subprocess.run(
        [sys.executable, '-c', code, str(run / 'student.py'), str(run / 'epoch_1.pth'), *flags],
        check=True,
        capture_output=True,
        env={**os.environ, 'OMP_NUM_THREADS': '1'},
    )
    found = json.loads(out.read_text())
    ours = our_metrics(run, run.parent / 'muse.py')
    assert found['accuracy/top1'] == ours['accuracy/top1']
    assert set(ours) > {'exit1/top1', 'exit2/top1'}


def test_the_student_comes_by_get_model_and_the_inferencers(run):
    images = [str(path) for path in sorted((run.parent / 'images').glob('*/*.png'))]
    model = get_model(str(run / 'student.py'), pretrained=str(run / 'epoch_1.pth'))
    assert type(model).__name__ == 'ImageClassifier'
    plain = ImageClassificationInferencer(model)(images)
    whole = get_model(Config.fromfile(run.parent / 'muse.py'), str(run / 'epoch_1.pth'))
    distilled = ImageClassificationInferencer(whole)(images)
    for one, other in zip(plain, distilled):
        np.testing.assert_allclose(one['pred_scores'], other['pred_scores'], rtol=1e-5)
    for one, other in zip(FeatureExtractor(model)(images), FeatureExtractor(whole)(images)):
        torch.testing.assert_close(one[-1], other[-1])


def test_the_file_is_complete_and_not_left_behind_by_a_run_that_fails(run, tmp_path):
    assert not list(run.glob('.*unfinished'))
    Config.fromfile(run / 'student.py')
    options = ['--cfg-options', 'train_dataloader.dataset.data_root=no_such_folder']
    work_dir = tmp_path / 'failed'
    assert run_command('train.py', run.parent / 'muse.py', '--work-dir', work_dir, *options) == 1
    assert not work_dir.exists()


def test_with_tta_scores_of_student_and_exits_are_averaged(run):
    plain = our_metrics(run, run / 'student.py', '--tta')
    ours = our_metrics(run, run.parent / 'muse.py', '--tta')
    assert ours['accuracy/top1'] == plain['accuracy/top1']
    assert {'exit1/top1', 'exit2/top1'} < set(ours)


def test_a_wrapped_multi_label_config_trains_and_evaluates_its_exits(multi_label):
    found = our_metrics(multi_label, multi_label.parent / 'muse.py')
    names = {'multi-label/precision_micro', 'exit1/multi-label/precision_micro'}
    assert names < set(found)
    last = max(name for name in found if name.startswith('exit') and 'precision' in name)
    assert found[last] == found['multi-label/precision_micro']


def test_exits_of_a_plain_checkpoint_are_refused_in_one_line(run, tmp_path, capsys):
    weights = torch.load(run / 'epoch_1.pth', weights_only=False)['state_dict']
    torch.save(dict(state_dict=weights), tmp_path / 'plain.pth')
    config = run.parent / 'muse.py'
    assert run_command('test.py', config, tmp_path / 'plain.pth', '--work-dir', tmp_path) == 1
    line = capsys.readouterr().err.strip().splitlines()[-1]
    assert line.startswith('error: ExitAccuracy: adapters, muse.exits of the SelfDistiller were')


HOOKS_OF_A_RUN = """
custom_hooks = [
    *_base_.get('custom_hooks', []),
    dict(type='EmptyCacheHook', after_iter=True),
    dict(type='EarlyStoppingHook', monitor='accuracy/top1', min_delta=101.0, patience=1),
    dict(type='ProfilerHook', by_epoch=False, profile_times=1, json_trace_path={trace!r}),
    dict(type='mmpretrain.VisualizationHook', enable=True, interval=4, out_dir={pictures!r}),
]
visualizer = dict(type='mmpretrain.UniversalVisualizer')
train_cfg = dict(max_epochs=5)
"""


def test_hooks_that_read_a_run_work_as_in_a_plain_one(run, tmp_path):
    config = tmp_path / 'hooks.py'
    trace, pictures = tmp_path / 'trace.json', tmp_path / 'pictures'
    text = HOOKS_OF_A_RUN.format(trace=str(trace), pictures=str(pictures))
    config.write_text(f'_base_ = {str(run.parent / "muse.py")!r}\n{text}')
    assert run_command('train.py', config, '--work-dir', tmp_path / 'run') == 0
    epochs = {path.name for path in (tmp_path / 'run').glob('epoch_*.pth')}
    assert 'epoch_2.pth' in epochs
    assert 'epoch_5.pth' not in epochs
    assert json.loads(trace.read_text())['traceEvents']
    drawn = {path.name for path in pictures.iterdir()}
    assert {'0.png_1.png', '1.png_1.png'} <= drawn


def test_a_pure_python_config_is_used_as_any_other(tool, tmp_path):
    write_images(tmp_path / 'images')
    config, run = tmp_path / 'muse.py', tmp_path / 'run'
    config.write_text(PURE_PYTHON.format(root=str(tmp_path / 'images')))
    assert tool('train.py', config, '--work-dir', run).code == 0
    assert 'mmmuse' not in Config.fromfile(run / 'student.py').pretty_text
    checkpoint = run / 'epoch_1.pth'
    for source in (config, run / 'muse.py'):
        flags = ['--work-dir', tmp_path / 'test', '--tta']
        assert tool('test.py', source, checkpoint, *flags).code == 0
        out = tmp_path / f'export_{source.parent.name}'
        exported = tool('export.py', source, checkpoint, '--exit', 1, '--out', out)
        assert exported.code == 0
        assert 'mmmuse' not in Config.fromfile(out / 'config.py').pretty_text
