from .base import BaseDistiller
from .build import distill
from .cs_kd import CSKDDistiller
from .ddgsd import DDGSDDistiller
from .early_exit import EarlyExitClassifier
from .frozen_copy import FrozenCopy
from .frskd import FRSKDDistiller
from .logits_distiller import LogitsDistiller
from .one import ONEDistiller
from .ps_kd import PSKDDistiller
from .self_distiller import SelfDistiller

__all__ = [
    'BaseDistiller',
    'CSKDDistiller',
    'DDGSDDistiller',
    'EarlyExitClassifier',
    'FRSKDDistiller',
    'FrozenCopy',
    'LogitsDistiller',
    'ONEDistiller',
    'PSKDDistiller',
    'SelfDistiller',
    'distill',
]
