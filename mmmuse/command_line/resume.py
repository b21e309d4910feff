"""Choose the checkpoint from which ``--resume`` continues."""

import os
import sys
import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mmengine.config import Config

from mmmuse.checkpoints.content import check_resumable
from mmmuse.checkpoints.files import read_checkpoint
from mmmuse.checkpoints.regular_file import why_no_file
from mmmuse.errors import InputError

try:
    from torch.utils.serialization import config as _settings
except ImportError:  # Before PyTorch 2.6.
    _settings = None


@dataclass(frozen=True)
class _Candidate:
    path: Path
    progress: int  # Iterations; -1 if the file cannot be read.
    error: str = ''


def choose_checkpoint(config: Config, trust: bool) -> None:
    """Set ``config.load_from`` to the newest checkpoint of the work dir that can be resumed.

    Only the checkpoints of this run are considered, whatever ``last_checkpoint`` names; one line on
    stderr says if that is another file. Without any, training starts from the beginning. A run that
    saves into remote storage is left to MMEngine.

    Args:
        config: With ``resume`` and without ``load_from``.
        trust: Accept files that hold more than weights.

    Raises:
        InputError: If there are checkpoints and none can be read.
    """
    folders = _folders(config)
    if any('://' in folder for folder in folders):
        return
    named = _named(Path(config.work_dir))
    files = _files(folders, _suffix(config))
    found = [_peek(path, trust) for path in files]
    found = sorted(filter(None, found), key=lambda file: (file.progress, _age(file.path)))[::-1]
    damaged = [file for file in found if file.progress < 0]
    for file in (file for file in found if file.progress >= 0):
        try:
            check_resumable(read_checkpoint(str(file.path), trust), str(file.path))
            _check_sums(file.path)
        except InputError as error:
            damaged.append(_Candidate(file.path, -1, str(error)))
            continue
        config.load_from = str(file.path)
        _report(file.path, named, damaged)
        return
    if damaged:
        raise InputError(
            f'no checkpoint in {folders[0]} can be resumed: {damaged[0].error}; remove it to start '
            'from the beginning'
        )
    if named is not None or files:
        _print(f'no checkpoint in {folders[0]} can be resumed: training starts from the beginning')
    config.resume = False


def _folders(config: Config) -> list[str]:
    """Return the folders into which a run saves checkpoints, its work dir first."""
    hook = (config.get('default_hooks') or {}).get('checkpoint')
    out_dir = hook.get('out_dir') if isinstance(hook, dict) else None
    if out_dir is None:
        return [config.work_dir]
    return [config.work_dir, f'{out_dir}/{Path(config.work_dir).name}']


def _suffix(config: Config) -> str:
    hook = (config.get('default_hooks') or {}).get('checkpoint')
    template = hook.get('filename_tmpl') if isinstance(hook, dict) else None
    return Path(template or '.pth').suffix or '.pth'


def _files(folders: list[str], suffix: str) -> list[Path]:
    paths = (path for folder in folders if Path(folder).is_dir() for path in Path(folder).iterdir())
    return [path for path in paths if path.suffix in (suffix, '.pth') and path.is_file()]


def _age(path: Path) -> int:
    return path.stat().st_mtime_ns


def _named(work_dir: Path) -> Path | None:
    """Return the file that ``last_checkpoint`` names, if it says something."""
    pointer = work_dir / 'last_checkpoint'
    if why_no_file(pointer):
        return None
    try:
        text = pointer.read_text().strip()
    except (OSError, UnicodeDecodeError):
        return None
    return Path(text) if text and '\0' not in text else None


def _peek(path: Path, trust: bool) -> _Candidate | None:
    """Return how far a checkpoint's training was; None if it has no optimizer to go on with."""
    try:
        content = _read_parts(path, trust)
    except InputError as error:
        return _Candidate(path, -1, str(error))
    meta = content.get('meta')
    progress: Any = meta.get('iter') if isinstance(meta, dict) else None
    if 'optimizer' not in content or not isinstance(progress, int) or progress < 0:
        return None
    return _Candidate(path, progress)


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


def _report(chosen: Path, named: Path | None, damaged: list[_Candidate]) -> None:
    reasons = [file.error for file in damaged]
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
