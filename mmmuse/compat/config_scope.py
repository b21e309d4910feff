"""``_base_ = 'mmmuse::folder/file.py'`` in the config of any project.

MMEngine has a fixed table of the packages whose configs can be named like this, and marks every part
of such a base with the package as its registry scope. The parts of our configs are found in the
scope of the library that the config is for, its ``default_scope``.

MMEngine also marks what it then gives to a function as it is: ``collate_fn`` and ``clip_grad``. Such a
function refuses the mark, so they get none, whichever package the base is of.
"""

import sys
from collections.abc import Callable, Sequence
from functools import wraps
from importlib.machinery import ModuleSpec, PathFinder, SourceFileLoader
from importlib.util import find_spec, spec_from_file_location
from pathlib import Path
from types import ModuleType
from typing import Any

from .shipped_configs import configs_folder

_SCOPE = 'mmmuse'
_MODULE = 'mmengine.config.config'
_FUNCTIONS = ('collate_fn', 'clip_grad')


def add_config_scope() -> None:
    """Let configs name ours as a base: now if MMEngine is imported, or else when it is.

    ``import mmmuse`` calls it. A second call changes nothing.
    """
    if _MODULE in sys.modules:
        _extend(sys.modules[_MODULE])
    elif _ConfigFinder not in sys.meta_path:
        sys.meta_path.insert(0, _ConfigFinder)


class _ConfigFinder:
    """Finds MMEngine's module of configs, and no other."""

    @staticmethod
    def find_spec(
        name: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        if name != _MODULE:
            return None
        spec = PathFinder.find_spec(name, path)
        if spec is None or spec.origin is None:
            return None
        return spec_from_file_location(name, spec.origin, loader=_ExtendedLoader(name, spec.origin))


class _ExtendedLoader(SourceFileLoader):
    def exec_module(self, module: ModuleType) -> None:
        super().exec_module(module)
        _extend(module)


def _extend(module: ModuleType) -> None:
    table = sys.modules['mmengine.config.utils'].MODULE2PACKAGE
    if _SCOPE in table:
        return
    table[_SCOPE] = _SCOPE
    config = module.Config
    config._get_cfg_path = staticmethod(_with_folders(config._get_cfg_path, table))
    config._dict_to_config_dict = staticmethod(_with_own_scope(config._dict_to_config_dict))


def _with_folders(find: Callable[..., tuple], table: dict[str, str]) -> Callable[..., tuple]:
    """Look in a package's folder of configs first.

    Ours are found also where MMEngine looks in vain: in editable installs and clones. Of another
    package MMEngine first reads the index, 85 files of mmpretrain's in a quarter of a second, and then
    looks in the same folder.
    """

    @wraps(find)
    def get_cfg_path(cfg_path: str, filename: str) -> tuple:
        scope, separator, name = cfg_path.partition('::')
        if not separator or scope not in table:
            return find(cfg_path, filename)
        if scope == _SCOPE:
            folder = configs_folder()
            if not (folder / name).is_file():
                raise FileNotFoundError(f'mmmuse has no config {name}; its configs: {folder}')
            return str(folder / name), scope
        spec = find_spec(scope)
        if spec is not None and spec.origin is not None:
            file = Path(spec.origin).parent / '.mim' / 'configs' / name
            if file.is_file():
                return str(file), scope
        return find(cfg_path, filename)

    return get_cfg_path


def _with_own_scope(convert: Callable[..., Any]) -> Callable[..., Any]:
    """Mark the parts of our configs with their ``default_scope``, or not at all without one.

    Arguments of functions are not marked.
    """

    @wraps(convert)
    def dict_to_config_dict(cfg: Any, scope: str | None = None, has_scope: bool = True) -> Any:
        if scope == _SCOPE:
            scope = cfg.get('default_scope') if isinstance(cfg, dict) else None
        converted = convert(cfg, scope, has_scope)
        if isinstance(converted, dict):
            for name in _FUNCTIONS:
                arguments = dict.get(converted, name)
                if isinstance(arguments, dict):
                    arguments.pop('_scope_', None)
        return converted

    return dict_to_config_dict
