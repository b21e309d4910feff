"""Self-distillation for OpenMMLab models with mutual and self-information (MUSE).

Importing the package is cheap: its parts are imported when a config names
them (``mmmuse.X``) or when :func:`mmmuse.distill` is first used.
"""

from .compat import add_config_scope, stand_in_for_mmcv_ops
from .version import __version__

__all__ = ['__version__', 'distill']

stand_in_for_mmcv_ops()
add_config_scope()


def __getattr__(name: str):
    if name == 'distill':
        from .distillers import distill

        return distill
    raise AttributeError(f'module {__name__!r} has no attribute {name!r}')
