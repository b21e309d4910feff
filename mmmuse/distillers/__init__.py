from .base import BaseDistiller
from .build import distill
from .self_distiller import SelfDistiller

__all__ = ['BaseDistiller', 'SelfDistiller', 'distill']
