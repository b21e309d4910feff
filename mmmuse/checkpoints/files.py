"""Read a checkpoint file without running code that it may contain."""

import re
import struct
from pathlib import Path
from pickle import UnpicklingError
from typing import Any

from mmengine.runner.checkpoint import CheckpointLoader

from mmmuse.errors import InputError

from .archive import check_archive, check_globals
from .content import check_weights, without_programs
from .data_only import load_data_only, load_trusted
from .regular_file import check_regular_file
from .safe_globals import with_arrays

# PyTorch's messages with weights_only=True for a file that refers to other classes or functions.
_NEEDS_CODE = re.compile(
    r'Unsupported (global|class)|not an allowed global|Can only build|unrecognized function'
    r'|Can only create new object|is blocked',
    re.IGNORECASE,
)
FLAG = 'pass --trust-checkpoint'

_UNREADABLE = (
    UnpicklingError,
    RuntimeError,
    EOFError,
    OSError,
    ValueError,
    LookupError,
    TypeError,
    AttributeError,
    AssertionError,
    MemoryError,
    struct.error,
)


def check_trust(trust: bool, name: str = 'trust') -> bool:
    """Return a flag of trust if it is a boolean: ``'no'`` of a command line would be true.

    Raises:
        InputError: If it is anything else.
    """
    if not isinstance(trust, bool):
        raise InputError(f'{name} is True or False, got {trust!r}')
    return trust


def read_checkpoint(path: str, trust: bool = False, flag: str = FLAG) -> dict[str, Any]:
    """Read a checkpoint with OpenMMLab's keys; arguments as for :func:`read_file`.

    Raises:
        InputError: As :func:`read_file`, and if the file has no weights.
    """
    content = read_file(path, trust, flag)
    check_weights(content, path)
    return content


def read_file(path: str, trust: bool = False, flag: str = FLAG, mmap: bool = False) -> Any:
    """Return the content of a file saved by PyTorch, with its tensors on the CPU.

    Args:
        path: A local file, or a URL for MMEngine to download.
        trust: Accept files that hold more than weights.
        flag: How to set ``trust``, for the message.
        mmap: Map the tensors of a local file into memory instead of reading them.

    Raises:
        InputError: If the file is missing or damaged, or holds more than weights and is not
            trusted.
    """
    check_trust(trust)
    if '://' not in path:
        return load_file(path, trust, flag, mmap)
    from .mmengine_loading import safe_loading

    with safe_loading(trust, flag):
        try:
            return CheckpointLoader.load_checkpoint(path, map_location='cpu')
        except (OSError, KeyError, ValueError, RuntimeError) as error:
            if isinstance(error, InputError):
                raise
            raise InputError(f'cannot download {path}: {error}') from error


def load_file(
    path: str | Path,
    trust: bool = False,
    flag: str = FLAG,
    mmap: bool = False,
    map_location: Any = 'cpu',
) -> Any:
    """Return the content of a local file; see :func:`read_file`.

    Text that MMEngine would run as a config (:func:`mmmuse.checkpoints.content.without_programs`)
    is removed, also if the file is trusted.
    """
    check_regular_file(path, 'checkpoint file')
    check_archive(path, limited=not mmap)
    try:
        if trust:
            return without_programs(load_trusted(path, map_location, mmap))
        check_globals(path)
        return without_programs(with_arrays(load_data_only(path, map_location, mmap)))
    except InputError:
        raise
    except _UNREADABLE as error:
        if isinstance(error, UnpicklingError) and _NEEDS_CODE.search(str(error)):
            raise InputError(
                f'{path} holds more than weights, and loading it could run code; if you '
                f'trust its source, {flag}'
            ) from error
        raise InputError(f'{path} is truncated or not a checkpoint; use another file') from error
