"""The example configs of segmenters on a few made-up images in the layout of their data.

One step, a validation, a checkpoint, and ``mmmuse test`` of it. The networks are narrow and the images small.
"""

import re
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch

pytest.importorskip('mmseg')

from mmengine.config import Config

from mmmuse.checkpoints.state_dicts import DISTILLER_KEY
from mmmuse.command_line.config import load_config
from mmmuse.registry import MODELS

from .conftest import ROOT

CONFIGS = ROOT / 'configs' / 'segmentation'
LOADERS = [f'{split}_dataloader' for split in ('train', 'val', 'test')]
ONE_STEP = [
    'train_cfg.max_iters=1',
    'train_cfg.val_interval=1',
    'default_hooks.checkpoint.interval=1',
    'default_hooks.logger.interval=1',
    'model.head.discrepancy.critic.hidden_channels=8',
]
NARROW = {
    'pspnet': [
        'model.student.pretrained=None',
        'model.student.backbone.depth=18',
        'model.student.backbone.stem_channels=4',
        'model.student.backbone.base_channels=4',
        'model.student.decode_head.in_channels=32',
        'model.student.decode_head.channels=8',
        'model.student.auxiliary_head.in_channels=16',
        'model.student.auxiliary_head.channels=8',
    ],
    'segformer': [
        'model.student.backbone.init_cfg=None',
        'model.student.backbone.embed_dims=4',
        'model.student.backbone.num_layers=[1,1,1,1]',
        'model.student.backbone.num_heads=[1,2,4,8]',
        'model.student.decode_head.in_channels=[4,8,16,32]',
        'model.student.decode_head.channels=8',
    ],
}


def write(folder: Path, image: str, mask: str, classes: range, size: tuple[int, int]) -> None:
    """Write an image and a mask with all classes and a border without one."""
    draw = np.random.default_rng(0)
    labels = np.resize(np.array(classes), (size[0] // 4, size[1] // 4)).astype(np.uint8)
    labels = np.kron(labels, np.ones((4, 4), np.uint8))
    pixels = draw.integers(0, 256, (*size, 3), dtype=np.uint8)
    for name, values in ((image, pixels), (mask, labels)):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        cv2.imwrite(str(folder / name), values)


def cityscapes(folder: Path) -> list[str]:
    """Two training images and a validation image, with the train ids of 19 classes."""
    for split, number in (('train', 0), ('train', 1), ('val', 2)):
        name = f'{split}/ulm/ulm_{number:06d}_000019'
        image, mask = (
            f'leftImg8bit/{name}_leftImg8bit.png',
            f'gtFine/{name}_gtFine_labelTrainIds.png',
        )
        write(folder, image, mask, range(19), (64, 128))
    return _of_size((128, 64), (64, 128))


def ade20k(folder: Path) -> list[str]:
    """Two training images and a validation image, with labels from 1 and 0 for no class."""
    for split, number in (('training', 0), ('training', 1), ('validation', 2)):
        image, mask = f'images/{split}/{number}.jpg', f'annotations/{split}/{number}.png'
        write(folder, image, mask, range(151), (64, 64))
    return _of_size((128, 64), (64, 64))


def _of_size(scale: tuple[int, int], crop: tuple[int, int]) -> list[str]:
    scale, crop = (str(each).replace(' ', '') for each in (scale, crop))
    return [
        f'train_dataloader.dataset.pipeline.2.scale={scale}',
        f'train_dataloader.dataset.pipeline.3.crop_size={crop}',
        *(f'{each}.dataset.pipeline.1.scale={scale}' for each in LOADERS[1:]),
        f'model.student.data_preprocessor.size={crop}',
    ]


def _loading(folder: Path, dataset: str = 'dataset') -> list[str]:
    return [
        f'{each}.{key}'
        for each in LOADERS
        for key in (
            'num_workers=0',
            'persistent_workers=False',
            f'{dataset if each.startswith("train") else "dataset"}.data_root={folder}',
        )
    ]


@pytest.mark.parametrize(
    ('name', 'write_data', 'classes'),
    [
        ('pspnet_r50_cityscapes_mi_x_si', cityscapes, 19),
        ('segformer_b0_ade20k_mi_x_si', ade20k, 150),
    ],
)
def test_an_example_trains_a_step_and_its_checkpoint_is_tested(
    tmp_path, tool, name, write_data, classes
):
    options = [*write_data(tmp_path / 'data'), *NARROW[name.split('_')[0]]]
    options += _loading(tmp_path / 'data')
    config, run = CONFIGS / f'{name}.py', tmp_path / 'run'
    finished = tool('train.py', config, '--work-dir', run, '--cfg-options', *options, *ONE_STEP)
    assert finished.code == 0, finished.err
    said = finished.out + finished.err
    for term in ('decode.loss_ce', 'exit2.loss_ce', 'exit2.loss_kd', 'loss_muse'):
        assert re.search(rf'(?<![\w.]){term}: \d', said), term
    validated = re.findall(r'(?<![\w/])((?:exit2/)?mIoU): (\S+)', said)
    assert {metric for metric, _ in validated} == {'mIoU', 'exit2/mIoU'}
    content = torch.load(run / 'iter_1.pth', weights_only=False)
    assert content['state_dict']['decode_head.conv_seg.weight'].shape[0] == classes
    assert any(key.startswith('exits.0.') for key in content[DISTILLER_KEY])
    finished = tool('test.py', config, run / 'iter_1.pth', '--cfg-options', *options)
    assert finished.code == 0, finished.err
    tested = re.findall(r'(?<![\w/])((?:exit2/)?mIoU): (\S+)', finished.out + finished.err)
    assert dict(tested) == dict(validated)


@pytest.fixture(scope='module')
def membranes(tmp_path_factory) -> Path:
    """Thirty small images and masks in the layout of the cell membranes, and a teacher's checkpoint."""
    folder = tmp_path_factory.mktemp('membranes')
    for number in range(30):
        write(folder, f'images/{number}.png', f'labels/{number}.png', range(2), (32, 32))
    teacher = load_config(str(CONFIGS / 'unet-wide_membrane.py'), {}).model
    teacher.backbone.base_channels = teacher.decode_head.in_channels = 8
    teacher._scope_ = 'mmseg'
    torch.save(dict(state_dict=MODELS.build(teacher).state_dict()), folder / 'teacher.pth')
    return folder


@pytest.mark.parametrize(
    ('name', 'losses'),
    [
        ('unet-wide-narrow_membrane_cwd', ['loss_cwd', 'loss_cwd_2']),
        ('unet-wide-narrow_membrane_kd_mi_x_si', ['loss_kd', 'loss_muse']),
    ],
)
def test_a_taught_membrane_config_trains_and_its_student_is_tested(
    membranes, tmp_path, tool, name, losses
):
    loading = [
        *_loading(membranes, 'dataset.dataset'),
        'train_dataloader.batch_size=2',
        'train_dataloader.dataset.times=1',
        'train_dataloader.dataset.dataset.indices=2',
        *(f'{each}.dataset.indices=2' for each in LOADERS[1:]),
    ]
    narrow = ['backbone.base_channels=4', 'decode_head.in_channels=4']
    teacher = Config.fromfile(CONFIGS / f'{name}.py').model.teacher
    assert Path(teacher).resolve() == (CONFIGS / 'unet-wide_membrane.py').resolve()
    wide = tmp_path / 'wide.py'
    wide.write_text(
        f'_base_ = {str(CONFIGS / "unet-wide_membrane.py")!r}\n'
        'model = dict(backbone=dict(base_channels=8), decode_head=dict(in_channels=8))\n'
    )
    finished = tool(
        *('train.py', CONFIGS / f'{name}.py', '--work-dir', tmp_path / 'run', '--cfg-options'),
        *loading,
        *(f'model.student.{each}' for each in narrow),
        f'model.teacher={wide}',
        f'model.teacher_checkpoint={membranes / "teacher.pth"}',
        *('train_cfg.max_epochs=1', 'train_cfg.val_interval=1', 'default_hooks.logger.interval=1'),
    )
    assert finished.code == 0, finished.err
    said = finished.out + finished.err
    for term in losses:
        assert re.search(rf'(?<![\w.]){term}: \d', said), term
    figures = {}
    for metric in ('mIoU', 'IoU/membrane', 'IoU/cell'):
        (figures[metric],) = re.findall(rf'(?<![\w/]){metric}: (\S+)', said)
    finished = tool(
        *('test.py', CONFIGS / 'unet_membrane.py', tmp_path / 'run' / 'epoch_1.pth'),
        *('--cfg-options', *loading, *(f'model.{each}' for each in narrow)),
    )
    assert finished.code == 0, finished.err
    for metric, value in figures.items():
        found = re.findall(rf'(?<![\w/]){metric}: (\S+)', finished.out + finished.err)
        assert found == [value]
