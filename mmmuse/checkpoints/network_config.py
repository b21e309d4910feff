"""Resolve the network config that another config refers to."""

from collections.abc import Mapping
from copy import deepcopy
from pathlib import Path

from mmengine.config import Config

from mmmuse.errors import InputError

from .config_file import read_config
from .network_names import is_network_name, named_network_config
from .packaged_config import packaged_file


def network_config(source: Mapping | str) -> dict:
    """Return the config of a model, with its data preprocessor and scope.

    Args:
        source: Config of the model or a complete config, the path of a config file or
            ``'mmpretrain::folder/file.py'``; or a network by name, ``'timm::NAME'`` or
            ``dict(name='timm::NAME', ...)``. Of a distiller the student's config is returned.

    Raises:
        InputError: If the file does not exist or is not the config of a model.
    """
    if is_network_name(source):
        return named_network_config(source)
    name = source if isinstance(source, str) else 'a network'
    config = _load(source) if isinstance(source, str) else source
    if 'type' in config:
        return deepcopy(dict(config))
    if not isinstance(config.get('model'), dict):
        raise InputError(f'{name} is not the config of a model: it has neither type nor model')
    model = deepcopy(dict(config['model']))
    if model.get('student') is not None:
        model = deepcopy(dict(model['student']))
    if config.get('data_preprocessor') is not None:
        model.setdefault('data_preprocessor', deepcopy(dict(config['data_preprocessor'])))
    model.setdefault('_scope_', config.get('default_scope') or 'mmpretrain')
    return model


def whole_config(source: Mapping | str) -> Mapping | None:
    """Return the complete config of a model; None for the config of the model alone, or a name.

    Args:
        source: As for :func:`network_config`.

    Raises:
        InputError: If the file does not exist.
    """
    if is_network_name(source):
        return None
    config = _load(source) if isinstance(source, str) else source
    return None if 'type' in config else config


def packaged_config(name: str) -> Config:
    """Return a config of an installed package, ``'mmpretrain::folder/file.py'``.

    Raises:
        InputError: If it does not exist.
    """
    return read_config(packaged_file(name))


def _load(path: str) -> Config:
    if '::' in path:
        return packaged_config(path)
    if not Path(path).is_file():
        raise InputError(
            f"no config file {path}; mmmuse train resolves it relative to the config's "
            'folder, other programs relative to the current one'
        )
    return read_config(path)
