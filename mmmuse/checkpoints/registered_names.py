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

    A pure-Python config has classes, and MMEngine dumps it with their paths (``mmmuse.hooks.StepSeedHook``). A
    registered class of OpenMMLab or mmmuse gets its scope and name (``mmmuse.StepSeedHook``). Any other class gets
    its import path, if that path leads back to it.

    Args:
        config: A config, or a part of one.
    """
    pairs = enumerate(config) if isinstance(config, (list, tuple)) else list(config.items())
    for key, value in pairs:
        if key in _OF_CLASSES:
            # Without a name a lazy object stays in the config, which MMEngine dumps as an import.
            if (name := _registered_name(value)) is not None:
                config[key] = name
        elif isinstance(value, (dict, list, tuple)):
            name_registered_types(value)


def _registered_name(kind: Any) -> str | None:
    """Return the name of a class or function, or of the path of one; None for anything else."""
    if isinstance(kind, str):
        of_a_package = kind.partition('.')[0] in _PACKAGES and kind.count('.') > 1
        found = get_object_from_string(kind) if of_a_package else None
    else:
        found = kind
    if not hasattr(found, '__qualname__'):
        return None
    if found.__module__.partition('.')[0] in _PACKAGES:
        for registry in _registries():
            if registry.module_dict.get(found.__name__) is found:
                return f'{registry.scope}.{found.__name__}'
    path = f'{found.__module__}.{found.__qualname__}'
    return path if get_object_from_string(path) is found else None


def _registries() -> Iterator[Registry]:
    for root in vars(mmengine.registry).values():
        if isinstance(root, Registry):
            yield root
            yield from root.children.values()
