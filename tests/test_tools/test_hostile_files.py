"""The command lines refuse crafted checkpoints in one line, run nothing and write nothing."""

import os
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from mmmuse.command_line.config import load_config
from mmmuse.registry import MODELS

from ..crafted_files import write_crafted
from ..test_distillers.transfer import TAPS
from .test_show_detections import SMALL, write_squares
from .test_show_detections import write_config as write_detector_config
from .test_teachers import KD, small, write_config
from .test_train import BASELINE, DISTILLED, SHORT

KINDS = [
    *('getattr in a checkpoint', 'a call in a checkpoint', 'an array of objects', 'a FIFO'),
    *('a checkpoint without weights', 'a deflated checkpoint', 'nothing', 'text'),
]
Arguments = Callable[[Path, Path], list]


def _of_teacher(path: Path, folder: Path) -> Path:
    (folder / 'teacher.py').write_text(f'model = {small(6)!r}\n')
    return write_config(
        folder,
        type='mmmuse.OfflineDistiller',
        student=small(4),
        teacher='teacher.py',
        teacher_checkpoint=str(path),
        taps=TAPS,
        losses=[KD],
    )


def _as_index(path: Path, folder: Path) -> Path:
    (folder / 'cache').mkdir()
    (folder / 'cache' / 'index.json').symlink_to(path)
    return folder / 'cache'


def _detector(folder: Path) -> Path:
    write_squares(folder)  # Missing data is found before a checkpoint is read.
    return write_detector_config(folder / 'config.py', 'yolov5_s_coco.py', SMALL)


def _run(folder: Path, *options: str) -> list:
    return ['--work-dir', folder / 'run', '--cfg-options', *SHORT, *options]


COMMANDS: dict[str, Arguments] = {
    'train.py --resume': lambda path, folder: [
        *('train.py', DISTILLED, '--resume', path, *_run(folder)),
    ],
    'train.py, load_from': lambda path, folder: [
        *('train.py', DISTILLED, *_run(folder, f'load_from={path}')),
    ],
    'train.py, init_cfg': lambda path, folder: [
        *('train.py', BASELINE, *_run(folder, f'model.init_cfg.checkpoint={path}')),
        'model.init_cfg.type=Pretrained',
    ],
    'train.py, teacher_checkpoint': lambda path, folder: [
        *('train.py', _of_teacher(path, folder), '--work-dir', folder / 'run'),
    ],
    'train.py, teacher_cache': lambda path, folder: [
        *('train.py', _of_teacher(path, folder), '--work-dir', folder / 'run'),
        *('--cfg-options', f'model.teacher_cache={_as_index(path, folder)}'),
    ],
    'test.py': lambda path, folder: ['test.py', BASELINE, path, *_run(folder)],
    'test.py of a distiller': lambda path, folder: ['test.py', DISTILLED, path, *_run(folder)],
    'export.py': lambda path, folder: [
        *('export.py', DISTILLED, path, '--exit', 1, '--out', folder / 'out'),
    ],
    'export_detector.py': lambda path, folder: [
        *('export_detector.py', _detector(folder), path, '--out', folder / 'out'),
    ],
    'convert_repdistiller.py': lambda path, folder: [
        *('convert_repdistiller.py', path, folder / 'out', '--network', 'resnet20'),
    ],
    'choose_exit.py': lambda path, folder: [
        *('analysis/choose_exit.py', DISTILLED, path, '--baseline', 50, '--out', folder / 'out'),
    ],
    'early_exit.py': lambda path, folder: [
        *('analysis/early_exit.py', DISTILLED, path, '--out', folder / 'out'),
    ],
    'cache_teacher.py': lambda path, folder: [
        *('analysis/cache_teacher.py', _of_teacher(path, folder), '--out', folder / 'out'),
    ],
    'show_detections.py': lambda path, folder: [
        *('analysis/show_detections.py', _detector(folder), path, '--out', folder / 'out'),
    ],
}


@pytest.mark.parametrize('kind', KINDS)
@pytest.mark.parametrize('name', COMMANDS)
def test_a_crafted_checkpoint_is_refused_by_every_command(tool, only_error, name, kind, tmp_path):
    path, marker = tmp_path / 'file.pth', tmp_path / 'marker'
    write_crafted(kind, path, marker)
    arguments = COMMANDS[name](path, tmp_path)
    line = only_error(tool(*arguments))
    named = [str(path)] + [str(tmp_path / 'cache')] * ('teacher_cache' in name)
    assert any(text in line for text in [*named, 'not a checkpoint of RepDistiller'])
    assert not marker.exists()
    assert not (tmp_path / 'out').exists()
    assert not (tmp_path / 'run').exists()


@pytest.mark.parametrize('trust', ['no', 'yes', '1', '0', 'None', 'False.'])
@pytest.mark.parametrize('tool_name', ['train.py', 'analysis/cache_teacher.py'])
def test_a_flag_of_trust_in_a_config_is_a_boolean(tool, only_error, trust, tool_name, tmp_path):
    path, marker = tmp_path / 'file.pth', tmp_path / 'marker'
    write_crafted('a call in a checkpoint', path, marker)
    place = '--work-dir' if tool_name == 'train.py' else '--out'
    flags = [place, tmp_path / 'out', '--cfg-options', f'model.trust_teacher={trust}']
    line = only_error(tool(tool_name, _of_teacher(path, tmp_path), *flags))
    assert 'trust_teacher is True or False, got' in line
    assert not marker.exists()


def test_test_refuses_a_checkpoint_of_another_plain_network(tool, only_error, tmp_path):
    config = load_config('configs/baselines/resnet20_cifar100.py', {})
    weights = MODELS.build(config.model).state_dict()
    torch.save(dict(state_dict=weights), tmp_path / 'a.pth')
    line = only_error(tool('test.py', BASELINE, tmp_path / 'a.pth', *_run(tmp_path)))
    assert 'a.pth is of another network; these tensors differ: ' in line


def test_no_text_of_a_checkpoint_is_run_on_resume(tool, tmp_path):
    flags = _run(tmp_path, 'train_cfg.max_epochs=1')
    assert tool('train.py', BASELINE, *flags).code == 0
    path, marker = tmp_path / 'run' / 'epoch_1.pth', tmp_path / 'marker'
    content = torch.load(path, weights_only=False)
    content['meta']['config'] = f'import os\nos.mkdir({os.fspath(marker)!r})\n'
    torch.save(content, path)
    finished = tool('train.py', BASELINE, '--resume', *_run(tmp_path))
    assert finished.code == 0, finished.err
    assert (tmp_path / 'run' / 'epoch_2.pth').exists()
    assert not marker.exists()
