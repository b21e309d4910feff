"""Forward hooks by module path."""

import difflib
import re
from collections.abc import Callable, Mapping

from torch import nn

from mmmuse.errors import InputError

_INDEXED = re.compile(r'^(?P<module>.*)\[(?P<index>-?\d+)\]$')


def split_index(path: str) -> tuple[str, int | None]:
    """Return the module path and the index of a tap path: ``'neck[0]'`` is ``('neck', 0)``."""
    indexed = _INDEXED.match(path)
    return (indexed['module'], int(indexed['index'])) if indexed else (path, None)


def resolve_module(model: nn.Module, path: str) -> nn.Module:
    """Return the submodule at a dotted path.

    Args:
        model: The module to look in.
        path: A path as in ``model.named_modules()``, e.g. ``'backbone.layer1'``.

    Raises:
        InputError: If it does not exist; the message has the nearest paths.
    """
    modules = dict(model.named_modules())
    if path and path in modules:
        return modules[path]
    nearest = difflib.get_close_matches(path, filter(None, modules), n=3, cutoff=0.0)
    raise InputError(
        f'{type(model).__name__} has no module {path!r}; nearest: '
        f'{", ".join(map(repr, nearest)) or "none"}'
    )


def resolve_tap(model: nn.Module, path: str) -> nn.Module:
    """Return the submodule at a tap path, without the index of an output (``'neck[0]'``).

    Raises:
        InputError: If it does not exist; the message has the nearest paths.
    """
    return resolve_module(model, split_index(path)[0])


class PathHooks:
    """Forward hooks by tap path, which follow a module that is replaced.

    Some code replaces modules after a model is built: ``sync_bn`` of MMEngine's runner, the
    reverse where a run has one process, quantisation, LoRA. The hooks are then moved to the
    modules that are at the paths now.

    Args:
        model: The module whose submodules get hooks.
        hooks: Forward hooks by tap path.

    Raises:
        InputError: If a path does not exist.
    """

    # No reference to the model or to a module: a copy of one hooked module would copy them all.
    def __init__(self, model: nn.Module, hooks: Mapping[str, Callable]) -> None:
        self._hooks = dict(hooks)
        self._handles = {
            path: resolve_tap(model, path).register_forward_hook(hook)
            for path, hook in self._hooks.items()
        }

    def follow(self, model: nn.Module) -> None:
        """Move the hook of each path whose module was replaced to the module that is there now.

        Raises:
            InputError: If there is no module any more; the message names it.
        """
        for path, handle in self._handles.items():
            module = _module_at(model, path)
            if handle.id not in module._forward_hooks:
                handle.remove()
                self._handles[path] = module.register_forward_hook(self._hooks[path])

    def remove(self) -> None:
        """Remove the hooks."""
        for handle in self._handles.values():
            handle.remove()


def _module_at(model: nn.Module, path: str) -> nn.Module:
    """Return the module at a tap path; fast, since it is called in each step."""
    module = model
    for name in split_index(path)[0].split('.'):
        module = module._modules.get(name)
        if module is None:
            break
    else:
        return module
    try:
        return model.get_submodule(split_index(path)[0])  # Also through a compiled module.
    except AttributeError as error:
        raise InputError(
            f'tapped module {path!r} is no longer in {type(model).__name__}: change the modules of '
            'a network before its distiller is built, and tap the changed ones'
        ) from error
