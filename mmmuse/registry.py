"""Child registries of MMEngine's, scope ``mmmuse``.

MMEngine imports this file for any ``mmmuse.X`` in a config, and a look-up imports the ``locations``,
so that no ``custom_imports`` is needed. A class that is registered here, also a user's,
checks the types and ranges of its arguments by the annotations of its ``__init__``.
"""

import re
from collections.abc import Callable
from functools import cache
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import Any

from mmengine import registry
from mmengine.registry import Registry

from mmmuse.arguments import with_checked_arguments
from mmmuse.environment.requirements import library_command
from mmmuse.errors import InputError

__all__ = [
    'DATASETS',
    'DATA_SAMPLERS',
    'FUNCTIONS',
    'HOOKS',
    'METRICS',
    'MODELS',
    'OPTIM_WRAPPERS',
    'OPTIM_WRAPPER_CONSTRUCTORS',
    'PARAM_SCHEDULERS',
    'TRANSFORMS',
]

# The library, and the extra that has it, of the parts that need one more.
_LIBRARIES = {
    'mmmuse.detection': ('mmdet', 'stack'),
    'mmmuse.segmentation': ('mmseg', 'segmentation'),
}


class CheckedRegistry(Registry):
    """A registry whose classes check their arguments; see :func:`with_checked_arguments`.

    A ``build_func`` would not hold for a part that is built through MMEngine's own registry, as the
    runner does, or by its class.
    """

    def register_module(self, *args: Any, module: Any = None, **kwargs: Any) -> Callable:
        """Register a class or a function, as MMEngine's method does."""
        if module is not None:
            return super().register_module(*args, module=_checked(module), **kwargs)
        register = super().register_module(*args, **kwargs)
        return lambda part: register(_checked(part))

    def get(self, key: str) -> Any:
        """Return a part as MMEngine's method does; mmdet and mmseg are imported for their own parts only."""
        scope, name = self.split_scope_key(key)
        found = self.find(name) if scope in (None, self.scope) else None
        return super().get(key) if found is None else found

    def find(self, name: str) -> Any:
        """Return a part of this registry, or None; import its locations in order, up to that of the part.

        Args:
            name: Of the part, without scope.

        Raises:
            InputError: If it is a part of detectors or segmenters, and their library is missing.
        """
        for location in self._locations:
            if name in self._module_dict:
                break
            if location not in _LIBRARIES:
                import_module(location)
            elif name in _classes_in(location):
                _check_is_there(import_module(location), name)
        return self._module_dict.get(name)

    def import_from_location(self) -> None:
        """Import the locations of parts that need no other library, for MMEngine's look-up."""
        for location in self._locations:
            if location not in _LIBRARIES:
                import_module(location)


@cache
def _classes_in(location: str) -> frozenset[str]:
    """Return the names of the classes in a package, without importing it."""
    folder = Path(__file__).with_name(location.rpartition('.')[2])
    texts = (path.read_text(encoding='utf-8') for path in folder.glob('*.py'))
    return frozenset(name for text in texts for name in re.findall(r'^class (\w+)', text, re.M))


def _check_is_there(package: ModuleType, name: str) -> None:
    if not hasattr(package, name):
        library, extra = _LIBRARIES[package.__name__]
        raise InputError(
            f'mmmuse.{name} needs {library}, which cannot be imported ({package.import_error}): '
            f'{library_command(library, extra)}'
        ) from package.import_error


def look_up(parent: Registry, name: str, scope: str | None = None) -> Any:
    """Return the part that a name in a config stands for, or None.

    A name without a scope is one of the config's ``default_scope`` first. ``parent.get`` does not look there.

    Args:
        parent: MMEngine's registry of such parts.
        name: With or without a scope.
        scope: Instead of the current default scope.
    """
    with parent.switch_scope_and_registry(scope) as registry:
        return registry.get(name)


def _checked(part: Any) -> Any:
    return with_checked_arguments(part) if isinstance(part, type) else part


def _child(parent: Registry, *packages: str) -> Registry:
    locations = [f'mmmuse.{package}' for package in packages]
    return CheckedRegistry(parent.name, scope='mmmuse', parent=parent, locations=locations)


MODELS = _child(
    registry.MODELS,
    'backbones',
    'critics',
    'estimators',
    'losses',
    'teachers',
    'necks',
    'heads',
    'distillers',
    'datasets',
    'detection',
    'segmentation',
)
DATASETS = _child(registry.DATASETS, 'datasets', 'detection')
DATA_SAMPLERS = _child(registry.DATA_SAMPLERS, 'samplers')
FUNCTIONS = _child(registry.FUNCTIONS, 'datasets')
HOOKS = _child(registry.HOOKS, 'hooks', 'segmentation')
METRICS = _child(registry.METRICS, 'metrics', 'detection', 'segmentation')
OPTIM_WRAPPERS = _child(registry.OPTIM_WRAPPERS, 'optim')
OPTIM_WRAPPER_CONSTRUCTORS = _child(registry.OPTIM_WRAPPER_CONSTRUCTORS, 'optim')
PARAM_SCHEDULERS = _child(registry.PARAM_SCHEDULERS, 'optim')
TRANSFORMS = _child(registry.TRANSFORMS, 'datasets', 'segmentation')
