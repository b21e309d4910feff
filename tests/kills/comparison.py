"""Compare what two runs have left, bit by bit."""

import os
from pathlib import Path
from typing import Any

import torch

from mmmuse.checkpoints.files import read_file

# Of a checkpoint; its meta has times, and its message hub the names of folders.
PARTS = (
    'state_dict',
    'distiller',
    'ema_state_dict',
    'distiller_ema',
    'optimizer',
    'param_schedulers',
    'gradients',
    'information',
)
SCORES = ('best_score', 'early_stopping', 'epoch', 'iter', 'keep_ckpt_ids')


def read(path: Path) -> dict:
    return read_file(str(path))


def files(work_dir: Path) -> set[str]:
    """Return the names of a run's files, without those of its logs and configs."""
    return {path.name for path in work_dir.iterdir() if path.is_file() and path.suffix != '.py'}


def differences(found: Path, expected: Path) -> list[str]:
    """Return what differs between the files of two runs; nothing if all are the same."""
    if files(found) != files(expected):
        return [f'files {sorted(files(found) ^ files(expected))}']
    lists = []
    for path in sorted(expected.glob('*.pth')):
        one, other = read(found / path.name), read(path)
        if one.keys() != other.keys():
            lists.append(f'{path.name}: {sorted(one.keys() ^ other.keys())}')
        for part in PARTS:
            lists += [f'{path.name}: {part}{at}' for at in _unequal(one.get(part), other.get(part))]
        for name in SCORES:
            if _info(one).get(name) != _info(other).get(name):
                lists.append(f'{path.name}: {name}')
        if one['meta'].get('iter') != other['meta'].get('iter'):
            lists.append(f'{path.name}: iter')
    names = [os.path.basename((run / 'last_checkpoint').read_text()) for run in (found, expected)]
    return lists + ([f'last_checkpoint {names}'] if names[0] != names[1] else [])


def _info(checkpoint: dict) -> dict:
    return checkpoint.get('message_hub', {}).get('runtime_info', {})


def _unequal(one: Any, other: Any, at: str = '') -> list[str]:
    if type(one) is not type(other):
        return [at]
    if isinstance(one, torch.Tensor):
        same = one.dtype == other.dtype and one.shape == other.shape
        return [] if same and torch.equal(one, other) else [at]
    if isinstance(one, dict):
        if one.keys() != other.keys():
            return [at]
        return [place for key in one for place in _unequal(one[key], other[key], f'{at}.{key}')]
    if isinstance(one, (list, tuple)) and len(one) == len(other):
        return [
            place
            for i, pair in enumerate(zip(one, other))
            for place in _unequal(*pair, f'{at}.{i}')
        ]
    return [] if one == other else [at]
