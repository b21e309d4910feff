"""``torch.load`` for files that hold data only, by PyTorch's own unpickler or ours."""

import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from pickle import UnpicklingError
from types import SimpleNamespace
from typing import Any

import torch
from torch.serialization import _is_torchscript_zip, _is_zipfile, _open_zipfile_reader

from . import restricted_unpickler
from .safe_globals import only_safe_globals

FORCE = 'TORCH_FORCE_WEIGHTS_ONLY_LOAD'
_ONE_AT_A_TIME = threading.RLock()  # The variable is the whole process's.
# Before 2.6, add_safe_globals takes no stand-in under another name, or does not exist.
_LIST_IS_OURS = torch.__version__ >= '2.6'


def load_data_only(path: str | Path, map_location: Any = 'cpu', mmap: bool = False) -> Any:
    """Load a file with the globals of :mod:`mmmuse.checkpoints.safe_globals` and no others.

    Args:
        path: Of the file.
        map_location: As for :func:`torch.load`.
        mmap: Map the tensors into memory instead of reading them.

    Raises:
        UnpicklingError: If the file refers to anything else; other errors if it is damaged.
    """
    options = dict(map_location=map_location, mmap=mmap or None)
    if _LIST_IS_OURS:
        with weights_only(True), only_safe_globals():
            return torch.load(path, weights_only=True, **options)
    with weights_only(False):  # It would not accept our unpickler.
        return torch.load(
            str(path), weights_only=False, pickle_module=_unpickler(path, mmap), **options
        )


def load_trusted(path: str | Path, map_location: Any = 'cpu', mmap: bool = False) -> Any:
    """Load a file with all that it holds, which may run code; arguments as above."""
    with weights_only(False):
        return torch.load(
            str(path), map_location=map_location, weights_only=False, mmap=mmap or None
        )


def _unpickler(path: str | Path, mmap: bool) -> SimpleNamespace:
    class Unpickler(restricted_unpickler.Unpickler):
        storage_sizes = _storage_sizes(path, mmap)

    return SimpleNamespace(
        Unpickler=Unpickler, load=restricted_unpickler.load, __name__=restricted_unpickler.__name__
    )


def _storage_sizes(path: str | Path, mmap: bool) -> dict[str, int] | None:
    """Return the number of bytes of each storage in a zip file by its key; None where PyTorch checks it.

    Where it does not, it reads past the end of a storage that is shorter than its pickle says.
    """
    with open(path, 'rb') as file:
        if not _is_zipfile(file):
            return None
    with _open_zipfile_reader(str(path)) as reader:
        if _is_torchscript_zip(reader):  # torch.load would run it.
            raise UnpicklingError('Unsupported class: a TorchScript program')
        if mmap:
            return None
        records = [name for name in reader.get_all_records() if name.startswith('data/')]
        return {name.removeprefix('data/'): len(reader.get_record(name)) for name in records}


@contextmanager
def weights_only(wanted: bool) -> Iterator[None]:
    """Set PyTorch's environment variable for weights_only loading during one load; other threads wait."""
    with _ONE_AT_A_TIME:
        before = os.environ.pop(FORCE, None)
        if wanted:
            os.environ[FORCE] = '1'
        try:
            yield
        finally:
            os.environ.pop(FORCE, None)
            if before is not None:
                os.environ[FORCE] = before
