from .muse_head import MUSEHead

__all__ = ['MUSEHead']
