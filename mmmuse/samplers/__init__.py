from .class_pair import ClassPairSampler

__all__ = ['ClassPairSampler']
