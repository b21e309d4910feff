from .bifpn import BiFPN
from .self_distill_neck import SelfDistillNeck

__all__ = ['BiFPN', 'SelfDistillNeck']
