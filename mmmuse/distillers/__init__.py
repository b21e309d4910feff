from .base import BaseDistiller
from .build import distill
from .early_exit import EarlyExitClassifier
from .self_distiller import SelfDistiller

__all__ = ['BaseDistiller', 'EarlyExitClassifier', 'SelfDistiller', 'distill']
