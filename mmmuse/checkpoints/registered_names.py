"""Names of registered classes in a config that has the classes themselves."""

from collections.abc import Iterator
from typing import Any

import mmengine.registry
from mmengine.config import Config
from mmengine.registry import Registry
from mmengine.utils import get_object_from_string

# A path in another package is not looked up: that would import it.
_PACKAGES = {'mmmuse', 'mmpretrain', 'mmdet', 'mmseg', 'mmengine', 'mmcv'}
_OF_CLASSES = ('type', 'constructor')


def name_registered_types(config: Config | dict | list | tuple) -> None:
    """Replace the classes of a config by the names under which they are registered, in place.

    A pure-Python config has classes, and MMEngine dumps it with their paths (``mmmuse.hooks.StepSeedHook``). After
    this, all configs have ``mmmuse.StepSeedHook``. A class that is not registered, or of another package, gets its
    path, if it can be imported.

    Args:
        config: A config, or a part of one.
    """
    pairs = enumerate(config) if isinstance(config, (list, tuple)) else list(config.items())
    for key, value in pairs:
        if key in _OF_CLASSES:
            config[key] = _registered_name(value)
        elif isinstance(value, (dict, list, tuple)):
            name_registered_types(value)


def _registered_name(kind: Any) -> Any:
    """Return the name of a class or function, or of the path of one; anything else unchanged."""
    if isinstance(kind, str):
        of_a_package = kind.partition('.')[0] in _PACKAGES and kind.count('.') > 1
        found = get_object_from_string(kind) if of_a_package else None
    else:
        found = kind
    if not hasattr(found, '__qualname__'):
        return kind
    if found.__module__.partition('.')[0] in _PACKAGES:
        for registry in _registries():
            if registry.module_dict.get(found.__name__) is found:
                return f'{registry.scope}.{found.__name__}'
    path = f'{found.__module__}.{found.__qualname__}'
    return path if get_object_from_string(path) is found else kind


def _registries() -> Iterator[Registry]:
    for root in vars(mmengine.registry).values():
        if isinstance(root, Registry):
            yield root
            yield from root.children.values()
