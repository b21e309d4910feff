"""Child registries of MMEngine's, scope ``mmmuse``.

MMEngine imports this file for any ``mmmuse.X`` in a config, and a look-up imports the ``locations``,
so that no ``custom_imports`` is needed. A class that is registered here, also a user's,
checks the types and ranges of its arguments by the annotations of its ``__init__``.
"""

from collections.abc import Callable
from importlib import import_module
from typing import Any

from mmengine import registry
from mmengine.registry import Registry

from mmmuse.arguments import with_checked_arguments

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

_DETECTION = 'mmmuse.detection'


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
        """Return a part as MMEngine's method does; mmdet is imported for the parts of detectors only."""
        scope, name = self.split_scope_key(key)
        found = self.find(name) if scope in (None, self.scope) else None
        return super().get(key) if found is None else found

    def find(self, name: str, with_detection: bool = False) -> Any:
        """Return a part of this registry, or None; import its locations in order, up to that of the part.

        Args:
            name: Of the part, without scope.
            with_detection: Also look among the parts of detectors, which import mmdet.
        """
        for location in self._locations:
            if name in self._module_dict:
                break
            if with_detection or location != _DETECTION:
                import_module(location)
        return self._module_dict.get(name)


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
    'necks',
    'heads',
    'distillers',
    'datasets',
    'detection',
)
DATASETS = _child(registry.DATASETS, 'datasets', 'detection')
DATA_SAMPLERS = _child(registry.DATA_SAMPLERS, 'samplers')
FUNCTIONS = _child(registry.FUNCTIONS, 'datasets')
HOOKS = _child(registry.HOOKS, 'hooks')
METRICS = _child(registry.METRICS, 'metrics', 'detection')
OPTIM_WRAPPERS = _child(registry.OPTIM_WRAPPERS, 'optim')
OPTIM_WRAPPER_CONSTRUCTORS = _child(registry.OPTIM_WRAPPER_CONSTRUCTORS, 'optim')
PARAM_SCHEDULERS = _child(registry.PARAM_SCHEDULERS, 'optim')
TRANSFORMS = _child(registry.TRANSFORMS, 'datasets')
