"""Compatibility with installs of mmcv that have no compiled ops."""

from .finder import stand_in_for_mmcv_ops

__all__ = ['stand_in_for_mmcv_ops']
