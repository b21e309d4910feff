"""The folders that a demo writes, and the next demo in the same work dir replaces."""

import re
from pathlib import Path

from mmmuse.analysis.dumped_config import read_dumped_config
from mmmuse.errors import InputError

_START = re.compile(r'\d{8}_\d{6}')  # MMEngine's name of the folder of a start.
_FILE = re.compile(r'(epoch_\d+|best_.+)\.pth|last_checkpoint|student\.py|report\.html|(\.|__).+')


def check_demo_folder(folder: Path, config: str, experiment: str) -> None:
    """Check that a folder is missing, or holds one run of the demo, its report, and hidden files.

    What is in the folder of the run's start is not looked at.

    Args:
        folder: Of the run.
        config: Name of the file of its config.
        experiment: The ``experiment_name`` of its config, by which a run of the demo is known.

    Raises:
        InputError: If it holds something else.
    """
    if not folder.exists() and not folder.is_symlink():
        return
    if folder.is_symlink() or not folder.is_dir():
        raise _not_replaced(f'{folder} is not a folder that a demo has made')
    found = sorted(folder.iterdir())
    starts = [path for path in found if _START.fullmatch(path.name) and path.is_dir()]
    for path in found:
        if path not in starts[:1] and path.name != config and not _FILE.fullmatch(path.name):
            raise _not_replaced(f'a demo has not written {path}')
    dumped = [path / 'vis_data' / 'config.py' for path in starts]
    by_demo = any(_experiment(path) == experiment for path in (folder / config, *dumped))
    if not by_demo and _has_content(folder):
        raise _not_replaced(f'{folder} holds a run that is not of a demo')


def _not_replaced(why: str) -> InputError:
    return InputError(f'{why}, and the demo would delete it: move it, or use another --work-dir')


def _experiment(config: Path) -> str | None:
    try:
        return read_dumped_config(config).get('experiment_name')
    except InputError:
        return None


def _has_content(folder: Path) -> bool:
    """Return whether a file is not empty; a demo that is killed before it writes its config has only such files."""
    return any(path.stat().st_size for path in folder.rglob('*') if path.is_file())
