"""Files of networks: weights, configs, and the names in other projects."""

from typing import Any

__all__ = ['load_distiller']


def __getattr__(name: str) -> Any:
    # Commands check paths with this package before they import PyTorch.
    if name == 'load_distiller':
        from .distiller_file import load_distiller

        return load_distiller
    raise AttributeError(f'module {__name__!r} has no attribute {name!r}')
