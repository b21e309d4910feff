"""Keep a run from writing its config over a file that no run has written."""

import io
import json
import re
import tokenize
from pathlib import Path

from mmengine.config import Config

from mmmuse.analysis.dumped_config import read_dumped_config
from mmmuse.checkpoints.regular_file import NOT_FOUND, why_no_file
from mmmuse.errors import InputError

_OF_A_RUN = {'work_dir', 'launcher'}  # The tools of OpenMMLab put them into every config.


def dumped_path(config: Config) -> Path:
    """Return the file in the work dir into which MMEngine writes the config of a run."""
    return Path(config.work_dir) / Path(config.filename).name


def check_replaced_config(config: Config) -> None:
    """Check that the config of a run replaces no file but the config of an earlier run.

    Raises:
        InputError: If it does: the config itself in ``--work-dir .``, for one.
    """
    path = dumped_path(config)
    why = why_no_file(path)
    if why != NOT_FOUND and (why is not None or not _is_dumped(path)):
        raise InputError(
            f'{path} exists and is not the complete config of an earlier run; this run would overwrite it: move '
            'it, or use another --work-dir'
        )


def _is_dumped(path: Path) -> bool:
    """Return whether MMEngine has written a config, or a part of it before the run was killed."""
    content = path.read_bytes()
    starts = path.parent.glob('*/vis_data/config.py')  # Written before it, with the same content.
    of_a_start = any(start.read_bytes().startswith(content) for start in starts if start.is_file())
    if not content or of_a_start:
        return True
    if path.suffix == '.py':
        return _is_complete(path)
    return _keys(content, path.suffix) >= _OF_A_RUN


def _keys(content: bytes, suffix: str) -> set[str]:
    """Return the keys of a JSON or YAML file; none of one with comments, or of a damaged one."""
    if suffix != '.json':  # YAML is not loaded: as MMEngine dumps it, it has tuples.
        has_comments = re.search(rb'^\s*#', content, re.MULTILINE)
        found = [] if has_comments else re.findall(rb'^(\w+):', content, re.MULTILINE)
        return {key.decode() for key in found}
    try:
        return set(json.loads(content))
    except (ValueError, TypeError, RecursionError):
        return set()


def _is_complete(path: Path) -> bool:
    """Return whether a Python config has only what a dump has, and the keys of a run."""
    try:
        return read_dumped_config(path).keys() >= _OF_A_RUN and not _has_comments(path)
    except InputError:
        return False


def _has_comments(path: Path) -> bool:
    lines = io.StringIO(path.read_text(encoding='utf-8')).readline
    return any(token.type == tokenize.COMMENT for token in tokenize.generate_tokens(lines))
