"""Read a checkpoint file without running code that it may hold."""

import os
import re
import struct
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from pickle import UnpicklingError
from typing import Any

import torch
from mmengine.runner.checkpoint import CheckpointLoader, get_torch_safe_globals

from mmmuse.errors import InputError

# What PyTorch's weights_only loading says of a file that names a class or function to call.
_NEEDS_CODE = re.compile(
    r'Unsupported (global|class)|not an allowed global|Can only build', re.IGNORECASE
)
_FORCE = 'TORCH_FORCE_WEIGHTS_ONLY_LOAD'

_UNREADABLE = (
    UnpicklingError,
    RuntimeError,
    EOFError,
    OSError,
    ValueError,
    LookupError,
    struct.error,
)


def refuse_code_in_checkpoints(trust: bool) -> None:
    """Make every load in this process ``weights_only``, unless the user trusts the file.

    MMEngine falls back to running a pickle's code by itself.
    """
    if not trust:
        os.environ[_FORCE] = '1'


def read_checkpoint(
    path: str, trust: bool = False, flag: str = 'pass --trust-checkpoint'
) -> dict[str, Any]:
    """Return what a checkpoint of OpenMMLab's layout holds, its tensors on the CPU.

    Args:
        path: A local file, or an address that MMEngine downloads from.
        trust: Accept files that hold more than weights.
        flag: How a user says that, for the message.

    Raises:
        InputError: As :func:`read_file`, and if it holds no weights.
    """
    content = read_file(path, trust, flag)
    if not isinstance(content, dict):
        raise InputError(f'{path} is no checkpoint: it holds a {type(content).__name__}')
    weights = content.get('state_dict', content)
    if not isinstance(weights, dict) or not all(
        isinstance(value, torch.Tensor) for value in weights.values()
    ):
        raise InputError(f'{path} is no checkpoint: it holds no state_dict of tensors')
    return content


def read_file(path: str, trust: bool = False, flag: str = 'pass --trust-checkpoint') -> Any:
    """Return what a file that PyTorch saved holds, its tensors on the CPU.

    Args:
        path: A local file, or an address that MMEngine downloads from.
        trust: Accept files that hold more than weights.
        flag: How a user says that, for the message.

    Raises:
        InputError: If the file is missing, truncated, damaged, or holds more
            than weights and is not trusted.
    """
    if '://' not in path and not Path(path).is_file():
        raise InputError(f'no checkpoint file {path}')
    try:
        with torch.serialization.safe_globals(get_torch_safe_globals()), _weights_only(not trust):
            if '://' in path:
                content = CheckpointLoader.load_checkpoint(path, map_location='cpu')
            else:
                content = torch.load(path, map_location='cpu', weights_only=not trust)
    except _UNREADABLE as error:
        if isinstance(error, UnpicklingError) and _NEEDS_CODE.search(str(error)):
            raise InputError(
                f'{path} holds more than weights, and loading it could run code; if you '
                f'trust its source, {flag}'
            ) from error
        raise InputError(
            f'{path} is truncated or no checkpoint; it is left as it is, and an '
            'earlier one can be named instead'
        ) from error
    return content


@contextmanager
def _weights_only(wanted: bool) -> Iterator[None]:
    """Set, for one load, what PyTorch asks of every load in this process."""
    before = os.environ.pop(_FORCE, None)
    if wanted:
        os.environ[_FORCE] = '1'
    try:
        yield
    finally:
        os.environ.pop(_FORCE, None)
        if before is not None:
            os.environ[_FORCE] = before
