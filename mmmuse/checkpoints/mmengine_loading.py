"""Make MMEngine read files as :mod:`mmmuse.checkpoints.files` does, in this process."""

import os
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlparse

import torch
import yaml
from mmengine.fileio import LocalBackend, register_backend
from mmengine.fileio import io as mmengine_files
from mmengine.fileio.handlers import PickleHandler, YamlHandler, file_handlers
from mmengine.runner import checkpoint as mmengine_checkpoint
from mmengine.runner.checkpoint import CheckpointLoader

from mmmuse.errors import InputError

from .content import check_tensors
from .data_only import FORCE
from .files import FLAG, check_trust, load_file
from .regular_file import NOT_FOUND, why_no_file


def refuse_code_in_files(trust: bool = False) -> None:
    """Make MMEngine's readers run no code of a file, for the rest of this process.

    A checkpoint (``load_from``, ``resume``, ``init_cfg``, ``get_model``, ``init_detector``, a URL)
    is read as by :func:`mmmuse.checkpoints.files.read_file`; ``mmengine.load`` refuses pickles,
    and reads YAML without Python objects; FIFOs and devices are not opened. Every tool calls this
    function first. Text in a checkpoint that MMEngine would run is removed, also if files are
    trusted.

    Args:
        trust: Accept checkpoints, pickles and YAML files that hold more than data.
    """
    check_trust(trust, '--trust-checkpoint')
    _install(trust, FLAG)
    if not trust:
        os.environ[FORCE] = '1'  # For code that calls torch.load with weights_only=False.
    register_backend('local', _RegularFiles, force=True, prefixes='')
    mmengine_files.backend_instances.clear()  # MMEngine keeps those of the class before.
    pickles = PickleHandler() if trust else _NoPickle()
    texts = YamlHandler() if trust else _SafeYaml()
    file_handlers.update(pkl=pickles, pickle=pickles, yaml=texts, yml=texts)


@contextmanager
def safe_loading(trust: bool = False, flag: str = FLAG) -> Iterator[None]:
    """Make MMEngine's loader of checkpoints safe during one load.

    Args:
        trust: Accept files that hold more than weights.
        flag: How to set ``trust``, for the message.
    """
    functions, schemes = dict(vars(mmengine_checkpoint)), dict(CheckpointLoader._schemes)
    try:
        _install(trust, flag)
        yield
    finally:
        for name in _FUNCTIONS & functions.keys():
            setattr(mmengine_checkpoint, name, functions[name])
        CheckpointLoader._schemes.update(schemes)


# In mmengine.runner.checkpoint. Versions before 0.10.12 have no _safe_torch_load; there all loaders
# call torch.load of their module's torch.
_FUNCTIONS = {'_safe_torch_load', 'load_url', 'torch'}


class _TorchWithLoad:
    """PyTorch with another ``load``, for the name ``torch`` of one module."""

    def __init__(self, load: Callable) -> None:
        self.load = load

    def __getattr__(self, name: str) -> Any:
        return getattr(torch, name)


def _install(trust: bool, flag: str) -> None:
    def load(file: Any, map_location: Any = None, weights_only: bool | None = None) -> Any:
        if isinstance(file, (str, os.PathLike)):
            content = load_file(file, trust, flag, map_location=map_location)
            check_tensors(content, str(file))
            return content
        with tempfile.NamedTemporaryFile(suffix='.pth') as copy:  # Of a storage service.
            copy.write(file.read())
            copy.flush()
            return load(copy.name, map_location)

    def load_from_local(filename: str, map_location: Any = None) -> Any:
        return load(os.path.expanduser(filename), map_location)

    def load_url(
        url: str, model_dir: str | None = None, map_location: Any = None, progress: bool = True
    ) -> Any:
        folder = Path(model_dir or Path(torch.hub.get_dir()) / 'checkpoints')
        folder.mkdir(parents=True, exist_ok=True)
        path = folder / Path(urlparse(url).path).name
        if not path.exists():
            torch.hub.download_url_to_file(url, str(path), progress=progress)
        return load(path, map_location)

    mmengine_checkpoint.load_url = load_url
    if hasattr(mmengine_checkpoint, '_safe_torch_load'):
        mmengine_checkpoint._safe_torch_load = load
    else:
        mmengine_checkpoint.torch = _TorchWithLoad(load)
    CheckpointLoader.register_scheme('', load_from_local, force=True)


class _RegularFiles(LocalBackend):
    """Reads regular files only: reading a FIFO or a device may never end."""

    def get(self, filepath: str | Path) -> bytes:
        _check_if_present(filepath)
        return super().get(filepath)

    def get_text(self, filepath: str | Path, encoding: str = 'utf-8') -> str:
        _check_if_present(filepath)
        return super().get_text(filepath, encoding)

    @contextmanager
    def get_local_path(self, filepath: str | Path) -> Iterator[str | Path]:
        _check_if_present(filepath)  # pycocotools, for one, opens the path itself.
        yield filepath


def _check_if_present(path: str | Path) -> None:
    why = why_no_file(path)
    if why not in (None, NOT_FOUND):
        raise InputError(f'cannot read {path}: {why}')


class _NoPickle(PickleHandler):
    """Writes pickles and refuses to read them."""

    def load_from_fileobj(self, file: Any, **kwargs: Any) -> Any:
        raise InputError(
            'a data file of the config is a pickle (.pkl), and loading it could run code: use '
            f'JSON, or if you trust its source, {FLAG}'
        )


class _SafeYaml(YamlHandler):
    """Reads YAML without Python objects."""

    def load_from_fileobj(self, file: Any, **kwargs: Any) -> Any:
        try:
            return yaml.safe_load(file)
        except yaml.YAMLError as error:
            raise InputError(f'a YAML file does not hold plain data: {error}') from error
