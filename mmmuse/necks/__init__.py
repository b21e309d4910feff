from .bifpn import BiFPN
from .exit_neck import ExitNeck
from .self_distill_neck import SelfDistillNeck

__all__ = ['BiFPN', 'ExitNeck', 'SelfDistillNeck']
