"""The parts of MMEngine and mmpretrain that import transformers, deferred until they are used.

Where transformers is installed, ``import mmengine.optim`` imports it for one optimizer, and ``import mmpretrain.models`` for
models of images and text: as much time as all other imports together. With transformers 5, which mmpretrain's models do not
support, the import of mmpretrain fails. The mechanism: while these modules run, transformers is not there for them. The optimizer and
the models are then registered as functions that import the real ones.
"""

import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from importlib import import_module, reload
from importlib.machinery import ModuleSpec, SourceFileLoader
from importlib.util import find_spec
from types import ModuleType
from typing import Any

from .source_modules import loaded_by, source_spec

_OPTIMIZERS = 'mmengine.optim.optimizer.builder'
_UTILS = 'mmpretrain.models.utils'
_MODELS = 'mmpretrain.models.multimodal'
_FLAG = 'mmpretrain.utils.dependency'
_LIBRARY = 'transformers'
# Modules of the package _UTILS that mmpretrain imports only with the flag.
_WITH_FLAG = ('huggingface', 'tokenizer')


def defer_multimodal() -> None:
    """Import transformers for MMEngine and mmpretrain only if a config or a program uses it.

    The commands call it, before the libraries are imported. A second call changes nothing.
    """
    if _Finder not in sys.meta_path:
        sys.meta_path.insert(0, _Finder)


class _Finder:
    """Finds three modules, if transformers is installed and not yet imported."""

    @staticmethod
    def find_spec(
        name: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        loader = _LOADERS.get(name)
        if loader is None or _LIBRARY in sys.modules or find_spec(_LIBRARY) is None:
            return None
        spec = source_spec(name, path)
        return None if spec is None else loaded_by(loader, spec)


@contextmanager
def _without_library() -> Iterator[None]:
    """Let imports of transformers fail as if it was not installed."""
    sys.modules[_LIBRARY] = None
    try:
        yield
    finally:
        del sys.modules[_LIBRARY]


@contextmanager
def _without_flag() -> Iterator[None]:
    """Let mmpretrain take its models of images and text for not available."""
    flag = import_module(_FLAG)
    before = flag.WITH_MULTIMODAL
    flag.WITH_MULTIMODAL = False
    try:
        yield
    finally:
        flag.WITH_MULTIMODAL = before


class _OptimizersLoader(SourceFileLoader):
    """Registers the optimizer as a function that imports it."""

    def exec_module(self, module: ModuleType) -> None:
        with _without_library():
            super().exec_module(module)
        if 'Adafactor' not in module.OPTIMIZERS:
            module.OPTIMIZERS.register_module(name='Adafactor', module=_adafactor)
            getattr(module, 'TRANSFORMERS_OPTIMIZERS', []).append('Adafactor')


def _adafactor(*args: Any, **kwargs: Any) -> Any:
    """Return the optimizer of transformers."""
    from transformers import Adafactor

    return Adafactor(*args, **kwargs)


class _UtilsLoader(SourceFileLoader):
    """Leaves out the modules that import transformers."""

    def exec_module(self, module: ModuleType) -> None:
        with _without_flag():
            super().exec_module(module)


class _ModelsLoader(SourceFileLoader):
    """Registers the models as functions that import all of them, where the flag has been cleared."""

    def exec_module(self, module: ModuleType) -> None:
        with _without_flag():
            super().exec_module(module)
        if not import_module(_FLAG).WITH_MULTIMODAL:  # They need another package as well.
            return
        registry = module.MODELS
        for name, part in list(registry.module_dict.items()):
            if getattr(part, '__module__', None) == _FLAG:
                registry.module_dict.pop(name)
                registry.register_module(name=name, module=_late(name))


def _late(name: str) -> Callable[..., Any]:
    """Return a function that imports a model and builds it."""

    def build(*args: Any, **kwargs: Any) -> Any:
        return _imported()[name](*args, **kwargs)

    build.is_late = True
    return build


def _imported() -> dict[str, Any]:
    """Import the models, register them in place of the functions, and return them by name."""
    package = sys.modules[_MODELS]
    registered = package.MODELS.module_dict
    late = {name: part for name, part in registered.items() if hasattr(part, 'is_late')}
    for name in late:
        del registered[name]
    try:
        for module in _WITH_FLAG:
            part = import_module(f'{_UTILS}.{module}')
            names = {name: value for name, value in vars(part).items() if name[0] != '_'}
            for name, value in names.items():
                vars(sys.modules[_UTILS]).setdefault(name, value)
        reload(package)  # By the loader of Python: transformers is imported now.
    except BaseException:
        registered.update({name: part for name, part in late.items() if name not in registered})
        raise
    return registered


_LOADERS = {_OPTIMIZERS: _OptimizersLoader, _UTILS: _UtilsLoader, _MODELS: _ModelsLoader}
