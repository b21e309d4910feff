"""Names of slow packages that mmcv and mmdet import for single functions, imported when they are used.

mmdet's modules import scikit-learn, SciPy, imgaug with Numba, pyplot, and transformers, for trackers, matchers,
augmentations and models of images and text that few configs have. In these modules, such a statement becomes an assignment of a
:class:`DeferredName`. The files and their bytecode are not changed.
"""

import ast
import re
import sys
from collections.abc import Sequence
from functools import cached_property
from importlib.machinery import ModuleSpec, SourceFileLoader
from importlib.util import find_spec
from pathlib import Path
from types import CodeType, ModuleType
from typing import Any

from .source_modules import loaded_by, source_spec

_IN = ('mmcv.', 'mmdet.', 'mmseg.')
_SLOW = (
    *('imagecorruptions', 'imgaug', 'matplotlib', 'scipy', 'skimage', 'sklearn', 'tifffile'),
    *('timm', 'transformers'),
)
# Classes of these are imported for a class that derives from them when it has its first instance.
_LATE_BASES = {'transformers'}
_IMPORT = re.compile(rb'^[ \t]*(?:import|from) (?:%s)\b' % '|'.join(_SLOW).encode(), re.MULTILINE)


def defer_slow_names() -> None:
    """Import the slow packages for mmcv and mmdet only if a config or a program uses them.

    The commands call it, before the libraries are imported. A second call changes nothing.
    """
    if _Finder not in sys.meta_path:
        sys.meta_path.insert(0, _Finder)


class DeferredName:
    """Stands for what an import statement binds, and runs the statement at the first use.

    It can be called, read, derived from and passed to ``isinstance``.

    Args:
        statement: ``'from scipy.optimize import linear_sum_assignment'``, or another import of one name.
        name: That it binds.
        package: That it needs.

    Raises:
        ModuleNotFoundError: If the package is not installed.
    """

    def __init__(self, statement: str, name: str, package: str) -> None:
        self._statement, self._name, self._package = statement, name, package
        if find_spec(package) is None:
            raise ModuleNotFoundError(f'No module named {package!r}', name=package)

    @cached_property
    def _value(self) -> Any:
        scope: dict[str, Any] = {}
        exec(self._statement, scope)  # Text of an installed module.
        return scope[self._name]

    def __getattr__(self, name: str) -> Any:
        return getattr(self._value, name)

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        return self._value(*args, **kwargs)

    def __mro_entries__(self, bases: tuple) -> tuple:
        return (_late_base(self) if self._package in _LATE_BASES else self._value,)

    def __instancecheck__(self, instance: Any) -> bool:
        return isinstance(instance, self._value)


def _new(cls: type, *args: Any, **kwargs: Any) -> Any:
    """Return a new object, whose ``__init__`` gets the arguments."""
    return object.__new__(cls)


def _late_base(deferred: DeferredName) -> type:
    """Return a class that the real one takes the place of when a class below has its first instance."""

    class LateBase:
        def __new__(cls, *args: Any, **kwargs: Any) -> Any:
            real = deferred._value
            for kind in [kind for kind in cls.__mro__ if LateBase in kind.__bases__]:
                kind.__bases__ = tuple(
                    real if base is LateBase else base for base in kind.__bases__
                )
                if real.__new__ is object.__new__:
                    kind.__new__ = (
                        _new  # Python goes on to look for one, and would give it the arguments.
                    )
                super(kind, kind).__init_subclass__()
            return cls.__new__(cls, *args, **kwargs)

    return LateBase


class _Finder:
    """Finds the modules of mmcv and mmdet that import a slow package."""

    @staticmethod
    def find_spec(
        name: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        if not name.startswith(_IN):
            return None
        spec = source_spec(name, path)
        if spec is None or not _IMPORT.search(Path(spec.origin).read_bytes()):
            return spec
        return loaded_by(_DeferringLoader, spec)


class _DeferringLoader(SourceFileLoader):
    def get_code(self, fullname: str) -> CodeType:
        """Compile anew: the bytecode beside the file is that of the file."""
        return self.source_to_code(self.get_data(self.path), self.path)

    def source_to_code(self, data: Any, path: Any, **kwargs: Any) -> CodeType:
        return super().source_to_code(_Deferring().visit(ast.parse(data)), path, **kwargs)


class _Deferring(ast.NodeTransformer):
    """Replaces the imports that run with the module; those in functions are late already."""

    def visit_FunctionDef(self, node: ast.FunctionDef) -> ast.AST:
        return node

    visit_AsyncFunctionDef = visit_FunctionDef  # noqa: N815 - of ast.NodeVisitor

    def visit_Import(self, node: ast.Import) -> list[ast.stmt]:
        return [
            _deferred(ast.Import([alias]), alias.asname or _package(alias.name), alias.name, node)
            for alias in node.names
        ]

    def visit_ImportFrom(self, node: ast.ImportFrom) -> list[ast.stmt]:
        if node.level or node.names[0].name == '*':
            return [node]
        return [
            _deferred(
                ast.ImportFrom(node.module, [alias], 0),
                alias.asname or alias.name,
                node.module,
                node,
            )
            for alias in node.names
        ]


def _deferred(statement: ast.stmt, name: str, module: str, place: ast.stmt) -> ast.stmt:
    """Return a statement that binds a name: the import itself, or in place of a slow one its stand-in."""
    package = _package(module)
    if package in _SLOW:
        text = ast.unparse(ast.fix_missing_locations(statement))
        own = f'__import__({__name__!r}, fromlist=["DeferredName"])'
        (statement,) = ast.parse(f'{name} = {own}.DeferredName{(text, name, package)!r}').body
    for part in ast.walk(statement):
        ast.copy_location(part, place)
    return statement


def _package(module: str) -> str:
    return module.partition('.')[0]
