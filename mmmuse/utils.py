"""What MMEngine's ``get_model('mmmuse::...')`` imports by this name."""

from time import time_ns

from mmengine.registry import DefaultScope


def register_all_modules(init_default_scope: bool = True) -> None:
    """Make mmpretrain's the current scope, which the shipped configs of classifiers are for.

    Those of detectors name mmdet's in their model. The parts are imported by the registries.

    Args:
        init_default_scope: Whether to do it.
    """
    if init_default_scope:
        DefaultScope.get_instance(f'mmpretrain-{time_ns()}', scope_name='mmpretrain')
