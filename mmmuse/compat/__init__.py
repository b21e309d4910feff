"""What MMEngine and mmcv lack: compiled ops where mmcv has none, and the scope of our configs."""

from .config_scope import add_config_scope
from .finder import stand_in_for_mmcv_ops

__all__ = ['add_config_scope', 'stand_in_for_mmcv_ops']
