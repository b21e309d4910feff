"""Choose the checkpoint from which ``--resume`` continues."""

import os
import re
import sys
import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mmengine.config import Config

from mmmuse.checkpoints.content import check_not_after_end, check_resumable
from mmmuse.checkpoints.files import read_checkpoint
from mmmuse.checkpoints.regular_file import why_no_file
from mmmuse.errors import InputError
from mmmuse.hooks.safe_checkpoint import PREEMPTED, RUN_ID

try:
    from torch.utils.serialization import config as _settings
except ImportError:  # Before PyTorch 2.6.
    _settings = None


_TEMPLATES = ('epoch_{}.pth', 'iter_{}.pth')  # MMEngine's names of checkpoints.
_FIELD = re.compile(r'\{[^{}]*\}')


@dataclass(frozen=True)
class _Candidate:
    path: Path
    progress: int  # Iterations; -1 if the run cannot be resumed from the file.
    error: str = ''
    run: str | None = None  # Of files of earlier versions None.
    was_read: bool = False


def choose_checkpoint(config: Config, trust: bool) -> str | None:
    """Return the newest checkpoint of a run that can be resumed, None if there is none.

    Only files in the folders of this run are considered, and, if another run was there before, only those of the
    run that was last. The newest is chosen, whatever ``last_checkpoint`` names; one line on stderr says if that is
    another file. Without any, ``config.resume`` is switched off: training
    starts from the beginning. A run that saves into remote storage is left to MMEngine.

    Args:
        config: With ``resume`` and without ``load_from``.
        trust: Accept files that hold more than weights.

    Raises:
        InputError: If there are checkpoints and none can be resumed.
    """
    folders = _folders(config)
    if any('://' in folder for folder in folders):
        return None
    named = _named(Path(config.work_dir))
    found = [_peek(path, config, trust) for path in _files(folders, config)]
    found.sort(key=lambda file: (file.progress, _age(file.path)), reverse=True)
    unusable = [file for file in found if file.progress < 0]
    for file in _of_last_run(found, named):
        try:
            _check_sums(file.path)
        except InputError as error:
            unusable.append(_Candidate(file.path, -1, str(error)))
            continue
        _report(file.path, named, unusable)
        return str(file.path)
    if unusable:
        raise InputError(
            f'no checkpoint in {folders[0]} can be resumed: {unusable[0].error}; to start from the '
            'beginning, use another work dir'
        )
    if named is not None:
        _print(f'no checkpoint in {folders[0]} can be resumed: training starts from the beginning')
    config.resume = False
    return None


def _folders(config: Config) -> list[str]:
    """Return the folders into which a run saves checkpoints, its work dir first."""
    out_dir = _checkpoint_hook(config).get('out_dir')
    if out_dir is None:
        return [config.work_dir]
    return [config.work_dir, f'{out_dir}/{Path(config.work_dir).name}']


def _checkpoint_hook(config: Config) -> dict:
    hook = (config.get('default_hooks') or {}).get('checkpoint')
    return hook if isinstance(hook, dict) else {}


def _files(folders: list[str], config: Config) -> list[Path]:
    """Return the files whose names are those of a run's checkpoints."""
    template = _checkpoint_hook(config).get('filename_tmpl')
    templates = [*_TEMPLATES, *([template] if template else []), PREEMPTED]
    patterns = [r'\d+'.join(map(re.escape, _FIELD.split(each))) for each in templates]
    name = re.compile('|'.join(patterns))
    paths = (path for folder in folders if Path(folder).is_dir() for path in Path(folder).iterdir())
    return [path for path in paths if name.fullmatch(path.name) and path.is_file()]


def _age(path: Path) -> int:
    return path.stat().st_mtime_ns


def _named(work_dir: Path) -> Path | None:
    """Return the file that ``last_checkpoint`` names, if it says something."""
    pointer = work_dir / 'last_checkpoint'
    if why_no_file(pointer):
        return None
    try:
        text = pointer.read_text(encoding='utf-8').strip()
    except (OSError, UnicodeDecodeError):
        return None
    return Path(text) if text and '\0' not in text else None


def _peek(path: Path, config: Config, trust: bool) -> _Candidate:
    """Return how far a checkpoint's training was."""
    try:
        content = _read_parts(path, trust)
    except InputError as error:
        return _Candidate(path, -1, str(error))
    run = _run_id(content)
    try:
        check_resumable(content, str(path))
        loop = config.get('train_cfg') or {}
        for key in ('epoch', 'iter'):
            if isinstance(end := loop.get(f'max_{key}s'), int):
                check_not_after_end(content, key, end, str(path))
    except InputError as error:
        return _Candidate(path, -1, str(error), run, was_read=True)
    return _Candidate(path, content['meta']['iter'], '', run, was_read=True)


def _run_id(content: dict[str, Any]) -> str | None:
    hub = content.get('message_hub')
    about = hub.get('runtime_info') if isinstance(hub, dict) else None
    run = about.get(RUN_ID) if isinstance(about, dict) else None
    return run if isinstance(run, str) else None


def _of_last_run(found: list[_Candidate], named: Path | None) -> list[_Candidate]:
    """Return the usable files of one run: that of the file that ``last_checkpoint`` names, or of the newest file."""
    read = [file for file in found if file.was_read]
    in_folder = [file for file in read if named is not None and file.path.name == named.name]
    last = max(in_folder or read, key=lambda file: _age(file.path), default=None)
    return [file for file in read if file.progress >= 0 and file.run == last.run]


def _read_parts(path: Path, trust: bool) -> dict[str, Any]:
    """Read a checkpoint without the content of its tensors, where PyTorch has a setting for it."""
    if _settings is not None:
        try:
            with _settings.patch('load.mmap', True):
                return read_checkpoint(str(path), trust)
        except InputError:  # PyTorch's former file format, for one, cannot be mapped.
            pass
    return read_checkpoint(str(path), trust)


def _check_sums(path: Path) -> None:
    """Compare the content with the file's checksums, which PyTorch writes and does not read.

    Raises:
        InputError: If a part differs.
    """
    if not zipfile.is_zipfile(path):
        return
    with zipfile.ZipFile(path) as file:
        stored = all(part.compress_type == zipfile.ZIP_STORED for part in file.infolist())
        damaged = file.testzip() if stored else None
    if damaged is not None:
        raise InputError(f'{path} is damaged: {damaged} differs from its checksum')


def _report(chosen: Path, named: Path | None, unusable: list[_Candidate]) -> None:
    reasons = [file.error for file in unusable]
    if named is None or named.name != chosen.name:
        reasons.insert(0, f'last_checkpoint names {named or "no file"}')
    elif named.resolve().parent != chosen.resolve().parent:
        reasons.insert(0, f'last_checkpoint names {named}, of another folder')
    if reasons:
        _print(
            f'resuming from {chosen}, the newest checkpoint that can be resumed ({"; ".join(reasons)})'
        )


def _print(line: str) -> None:
    if os.environ.get('RANK', '0') == '0':
        print(line, file=sys.stderr)
