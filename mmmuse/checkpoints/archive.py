"""Look at a checkpoint file before it is loaded: what it is, its size, and the names it refers to."""

import os
import pickletools
import tarfile
import zipfile
from collections.abc import Iterator
from pathlib import Path
from pickle import UnpicklingError
from typing import BinaryIO

from mmmuse.errors import InputError

from .safe_globals import current_name, is_allowed

LIMIT = 'MMMUSE_MAX_CHECKPOINT_GIB'  # Environment variable.
_DEFAULT_GIB = 64.0
_ZIP = b'PK\x03\x04'
_PICKLES_OF_OLD_FILE = 5  # Magic number, protocol, system, content and names of the storages.
_META_TENSOR = 'torch._utils._rebuild_meta_tensor_no_storage'


def check_archive(path: str | Path, limited: bool = True) -> None:
    """Check the size of a checkpoint from its directory, without reading its content.

    PyTorch does not compress, so the size of the content is that of the file.

    Args:
        path: Of the file.
        limited: Whether its size has a limit; False for a file that is mapped, not read.

    Raises:
        InputError: If the file is empty, compressed, larger than it can be, or above the limit, or
            if it is a TorchScript program or a tar file.
    """
    size = os.path.getsize(path)
    if not size:
        raise InputError(f'{path} is truncated or not a checkpoint, it is empty; use another file')
    limit = _limit()
    if limited and size > limit * 2**30:
        raise InputError(
            f'{path} has {size / 2**30:.1f} GiB, and the limit is {limit:g}: if your memory is '
            f'sufficient, set the environment variable {LIMIT}'
        )
    with open(path, 'rb') as file:
        is_zip = file.read(4) == _ZIP
    if not is_zip:
        if tarfile.is_tarfile(path):  # Of PyTorch 0.1; reading one extracts files.
            raise InputError(f'{path} is a tar file, not a checkpoint; use another file')
        return
    try:
        with zipfile.ZipFile(path) as archive:
            entries = archive.infolist()
    except (zipfile.BadZipFile, NotImplementedError, OSError, ValueError) as error:
        raise InputError(f'{path} is truncated or not a checkpoint; use another file') from error
    if any(entry.filename.endswith('/constants.pkl') for entry in entries):
        raise InputError(
            f'{path} is a TorchScript program, not a checkpoint; save only the weights, with '
            'torch.save(dict(state_dict=...))'
        )
    total = sum(entry.file_size for entry in entries)
    if total > size or any(entry.compress_type != zipfile.ZIP_STORED for entry in entries):
        raise InputError(
            f'{path} is compressed, which PyTorch never does: its {size} bytes decompress to '
            f'{total}; save it again with torch.save'
        )


def _limit() -> float:
    text = os.environ.get(LIMIT, _DEFAULT_GIB)
    try:
        limit = float(text)
    except ValueError:
        limit = 0.0
    if not limit > 0:
        raise InputError(f'{LIMIT} is a number of GiB above 0, got {text!r}')
    return limit


def check_globals(path: str | Path) -> None:
    """Check that a file refers only to what :mod:`mmmuse.checkpoints.safe_globals` allows.

    PyTorch's own list has more: ``bytearray``, which allocates any amount of memory, and
    tensors without data.

    Raises:
        InputError: If it has tensors without data.
        UnpicklingError: If it refers to anything else.
    """
    with open(path, 'rb') as file:
        for name in _globals(file):
            if name == _META_TENSOR:
                raise InputError(
                    f"{path} has tensors without data (device 'meta'); save the model's weights "
                    'after they have been loaded'
                )
            if not is_allowed(name):
                raise UnpicklingError(f'Unsupported global: {name}')


def _globals(file: BinaryIO) -> Iterator[str]:
    """Yield the full name of every global that a checkpoint's pickles ask for."""
    is_zip = file.read(4) == _ZIP
    file.seek(0)
    if not is_zip:
        for _ in range(_PICKLES_OF_OLD_FILE):
            yield from _globals_of_pickle(file)
        return
    with zipfile.ZipFile(file) as archive:
        for entry in archive.infolist():
            if entry.filename.endswith('.pkl'):
                with archive.open(entry) as content:
                    yield from _globals_of_pickle(content)


def _globals_of_pickle(file: BinaryIO) -> Iterator[str]:
    for opcode, argument, _ in pickletools.genops(file):
        if opcode.name in ('GLOBAL', 'INST'):
            module, _, name = argument.partition(' ')
            yield current_name(module, name)
