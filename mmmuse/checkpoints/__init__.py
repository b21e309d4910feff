"""Files of networks: weights, configs, and the names in other projects."""

from .distiller_file import load_distiller

__all__ = ['load_distiller']
