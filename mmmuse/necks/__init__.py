from .self_distill_neck import SelfDistillNeck

__all__ = ['SelfDistillNeck']
