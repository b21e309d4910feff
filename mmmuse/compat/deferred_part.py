"""The part of mmpretrain that imports mmdet, deferred until mmdet is used.

``import mmpretrain.models`` imports all models of mmdet for one class, ``ResLayerExtraNorm``, which only
detectors have in their configs. The mechanism: the module of that class is found, but not run, until
``mmdet.models`` is imported, or something reads the class.
"""

import sys
from collections.abc import Sequence
from importlib.machinery import ModuleSpec, SourceFileLoader
from importlib.util import find_spec
from types import ModuleType
from typing import Any

from .source_modules import loaded_by, source_spec

_PART = 'mmpretrain.models.utils.res_layer_extra_norm'
_NAME = 'ResLayerExtraNorm'
_USERS = 'mmdet.models'
# Star imports copy the name from each to the one before it.
_HOLDERS = ('mmpretrain.models', 'mmpretrain.models.utils', _PART)


def defer_part_of_mmdet() -> None:
    """Import mmdet in this process only if a config or a program uses it.

    The commands call it. Without it, a program imports mmpretrain as if mmmuse did not exist. A second call changes
    nothing, and so does a call after mmpretrain's models or mmdet's have been imported.
    """
    if _PartFinder not in sys.meta_path:
        sys.meta_path.insert(0, _PartFinder)


class _PartFinder:
    """Finds three modules: the part, the package that shows it, and the models of mmdet."""

    @staticmethod
    def find_spec(
        name: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        loader = _LOADERS.get(name)
        if loader is None or (name == _PART and not _can_be_deferred()):
            return None
        spec = source_spec(name, path)
        return None if spec is None else loaded_by(loader, spec)


def _can_be_deferred() -> bool:
    """Return whether mmdet is installed and not yet used; without it the import costs nothing."""
    holder = getattr(sys.modules.get(_HOLDERS[0]), '__loader__', None)
    is_ours = isinstance(
        holder, _HolderLoader
    )  # Not if mmpretrain's models were being imported before.
    return is_ours and _USERS not in sys.modules and find_spec('mmdet') is not None


class _PartLoader(SourceFileLoader):
    """Leaves the part as mmpretrain has it without mmdet, for the star imports that are under way."""

    def exec_module(self, module: ModuleType) -> None:
        setattr(module, _NAME, None)
        module.__dict__['__deferred__'] = self


class _HolderLoader(SourceFileLoader):
    """After the star imports, makes every access to the class run the part."""

    def exec_module(self, module: ModuleType) -> None:
        super().exec_module(module)
        if '__deferred__' in vars(sys.modules.get(_PART, module)):
            for holder in _HOLDERS:
                names = vars(sys.modules[holder])
                names.pop(_NAME, None)
                names['__getattr__'] = _run_for(holder)


class _UserLoader(SourceFileLoader):
    """After the models of mmdet, runs the part, which registers its class among them."""

    def exec_module(self, module: ModuleType) -> None:
        super().exec_module(module)
        _run_part()


_LOADERS = {_PART: _PartLoader, _HOLDERS[0]: _HolderLoader, _USERS: _UserLoader}


def _run_for(holder: str) -> Any:
    def get_attribute(name: str) -> Any:
        if name != _NAME:
            raise AttributeError(f'module {holder!r} has no attribute {name!r}')
        _run_part()
        return vars(sys.modules[holder])[name]

    return get_attribute


def _run_part() -> None:
    """Run the part, if it was deferred, and put its class where it belongs."""
    part = sys.modules.get(_PART)
    loader = vars(part).pop('__deferred__', None) if part is not None else None
    if loader is None:  # Also while it runs: it imports mmdet's models.
        return
    try:
        SourceFileLoader.exec_module(loader, part)
    except BaseException:
        vars(part)['__deferred__'] = loader  # The next access fails in the same way.
        raise
    for holder in _HOLDERS:
        names = vars(sys.modules[holder])
        names.pop('__getattr__', None)
        names[_NAME] = vars(part)[_NAME]
