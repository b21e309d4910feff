"""Read a checkpoint file without running code that it may contain."""

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

# PyTorch's messages with weights_only=True for a file that refers to other classes or functions.
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

    Otherwise MMEngine falls back to full unpickling, which can run code.
    """
    if not trust:
        os.environ[_FORCE] = '1'


def read_checkpoint(
    path: str, trust: bool = False, flag: str = 'pass --trust-checkpoint'
) -> dict[str, Any]:
    """Read a checkpoint with OpenMMLab's keys; arguments as for :func:`read_file`.

    Raises:
        InputError: As :func:`read_file`, and if the file has no weights.
    """
    content = read_file(path, trust, flag)
    if not isinstance(content, dict):
        raise InputError(f'{path} is not a checkpoint: it contains a {type(content).__name__}')
    weights = content.get('state_dict', content)
    if not isinstance(weights, dict) or not all(
        isinstance(value, torch.Tensor) for value in weights.values()
    ):
        raise InputError(f'{path} is not a checkpoint: it has no state_dict of tensors')
    return content


def read_file(path: str, trust: bool = False, flag: str = 'pass --trust-checkpoint') -> Any:
    """Return the content of a file saved by PyTorch, with its tensors on the CPU.

    Args:
        path: A local file, or a URL for MMEngine to download.
        trust: Accept files that hold more than weights.
        flag: How to set ``trust``, for the message.

    Raises:
        InputError: If the file is missing or damaged, or holds more than weights and is not
            trusted.
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
            f'{path} is truncated or not a checkpoint; use an earlier checkpoint'
        ) from error
    return content


@contextmanager
def _weights_only(wanted: bool) -> Iterator[None]:
    """Set PyTorch's environment variable for weights_only loading during one load."""
    before = os.environ.pop(_FORCE, None)
    if wanted:
        os.environ[_FORCE] = '1'
    try:
        yield
    finally:
        os.environ.pop(_FORCE, None)
        if before is not None:
            os.environ[_FORCE] = before
