from .base import BaseDistiller
from .build import distill
from .cs_kd import CSKDDistiller
from .ddgsd import DDGSDDistiller
from .dense_self_distiller import DenseSelfDistiller
from .early_exit import EarlyExitClassifier
from .feature_distiller import FeatureDistiller
from .frozen_network import FrozenNetwork
from .frskd import FRSKDDistiller
from .input_conversion import InputConversion
from .logits_distiller import LogitsDistiller
from .merged_exits import MergedExits
from .offline import OfflineDistiller
from .one import ONEDistiller
from .online import OnlineDistiller
from .ps_kd import PSKDDistiller
from .self_distiller import SelfDistiller
from .teacher import Teacher
from .teacher_cache import TeacherCache

__all__ = [
    'BaseDistiller',
    'CSKDDistiller',
    'DDGSDDistiller',
    'DenseSelfDistiller',
    'EarlyExitClassifier',
    'FRSKDDistiller',
    'FeatureDistiller',
    'FrozenNetwork',
    'InputConversion',
    'LogitsDistiller',
    'MergedExits',
    'ONEDistiller',
    'OfflineDistiller',
    'OnlineDistiller',
    'PSKDDistiller',
    'SelfDistiller',
    'Teacher',
    'TeacherCache',
    'distill',
]
