"""What lets the stack run everywhere."""

from .finder import stand_in_for_mmcv_ops

__all__ = ['stand_in_for_mmcv_ops']
