"""Modules of other libraries that a finder of ours loads from their own files."""

from collections.abc import Sequence
from importlib.machinery import ModuleSpec, PathFinder, SourceFileLoader
from importlib.util import spec_from_file_location


def source_spec(name: str, path: Sequence[str] | None) -> ModuleSpec | None:
    """Return how Python finds a module; None if it is not in a source file.

    Args:
        name: Of the module.
        path: Folders of its package, as a finder is given them.
    """
    spec = PathFinder.find_spec(name, path)
    return spec if spec is not None and isinstance(spec.loader, SourceFileLoader) else None


def loaded_by(loader: type[SourceFileLoader], spec: ModuleSpec) -> ModuleSpec:
    """Return the spec of the same module with another loader."""
    return spec_from_file_location(
        spec.name,
        spec.origin,
        loader=loader(spec.name, spec.origin),
        submodule_search_locations=spec.submodule_search_locations,
    )
