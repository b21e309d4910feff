"""Look at a checkpoint before a run touches anything."""

import os
import re
import struct
from pathlib import Path
from pickle import UnpicklingError

import torch
from mmengine.runner import find_latest_checkpoint
from mmengine.runner.checkpoint import get_torch_safe_globals

from mmmuse.errors import InputError

# What PyTorch's weights_only loading says of a file that names a class or function to call.
_NEEDS_CODE = re.compile(
    r'Unsupported (global|class)|not an allowed global|Can only build', re.IGNORECASE
)

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
        os.environ['TORCH_FORCE_WEIGHTS_ONLY_LOAD'] = '1'


def check_checkpoint(path: str, trust: bool = False) -> None:
    """Read a checkpoint file, to learn whether it can be loaded.

    Args:
        path: A local file; addresses of other kinds are left to MMEngine.
        trust: Accept files that hold more than weights.

    Raises:
        InputError: If the file is missing, truncated, damaged, or holds more
            than weights and is not trusted.
    """
    if '://' in path:
        return
    if not Path(path).is_file():
        raise InputError(f'no checkpoint file {path}')
    try:
        with torch.serialization.safe_globals(get_torch_safe_globals()):
            content = torch.load(path, map_location='cpu', weights_only=not trust)
    except _UNREADABLE as error:
        if isinstance(error, UnpicklingError) and _NEEDS_CODE.search(str(error)):
            raise InputError(
                f'{path} holds more than weights, and loading it could run code; if you '
                'trust its source, pass --trust-checkpoint'
            ) from error
        raise InputError(
            f'{path} is truncated or no checkpoint; it is left as it is, and an '
            'earlier one can be named instead'
        ) from error
    if not isinstance(content, dict):
        raise InputError(f'{path} is no checkpoint: it holds a {type(content).__name__}')
    weights = content.get('state_dict', content)
    if not isinstance(weights, dict) or not all(
        isinstance(value, torch.Tensor) for value in weights.values()
    ):
        raise InputError(f'{path} is no checkpoint: it holds no state_dict of tensors')


def check_before_loading(config, trust: bool) -> None:
    """Check the file that a run with this config would load or resume from, if any."""
    path = config.get('load_from')
    if path is None and config.get('resume'):
        path = find_latest_checkpoint(config.work_dir)
    if path is not None:
        check_checkpoint(path, trust)
