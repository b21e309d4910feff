"""Self-distillation for OpenMMLab models with mutual and self-information (MUSE).

Importing the package is cheap: its parts are imported when a config names
them (``mmmuse.X``) or when one of the names below is first used.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from .compat import add_config_scope, stand_in_for_mmcv_ops
from .errors import InputError, MMMuseError
from .version import __version__

if TYPE_CHECKING:
    from .backbones import TruncatedBackbone
    from .critics import GlobalLocalCritic
    from .detection import DetectionSelfDistiller
    from .distillers import (
        BaseDistiller,
        EarlyExitClassifier,
        FeatureDistiller,
        OfflineDistiller,
        OnlineDistiller,
        SelfDistiller,
        distill,
    )
    from .estimators import InformationEstimator
    from .heads import MUSEHead
    from .losses import DistillLoss, Edge, FeatureLoss
    from .losses.muse_loss import MUSELoss
    from .necks import SelfDistillNeck
    from .segmentation import SegmentationSelfDistiller
    from .tapping.taps import FeatureTaps

__all__ = [
    'BaseDistiller',
    'DetectionSelfDistiller',
    'DistillLoss',
    'EarlyExitClassifier',
    'Edge',
    'FeatureDistiller',
    'FeatureLoss',
    'FeatureTaps',
    'GlobalLocalCritic',
    'InformationEstimator',
    'InputError',
    'MMMuseError',
    'MUSEHead',
    'MUSELoss',
    'OfflineDistiller',
    'OnlineDistiller',
    'SegmentationSelfDistiller',
    'SelfDistillNeck',
    'SelfDistiller',
    'TruncatedBackbone',
    '__version__',
    'distill',
]
# The module of each name that is imported when it is first used.
_LAZY = {
    'BaseDistiller': 'distillers',
    'DetectionSelfDistiller': 'detection',
    'DistillLoss': 'losses',
    'EarlyExitClassifier': 'distillers',
    'Edge': 'losses',
    'FeatureDistiller': 'distillers',
    'FeatureLoss': 'losses',
    'FeatureTaps': 'tapping.taps',
    'GlobalLocalCritic': 'critics',
    'InformationEstimator': 'estimators',
    'MUSEHead': 'heads',
    'MUSELoss': 'losses',
    'OfflineDistiller': 'distillers',
    'OnlineDistiller': 'distillers',
    'SegmentationSelfDistiller': 'segmentation',
    'SelfDistillNeck': 'necks',
    'SelfDistiller': 'distillers',
    'TruncatedBackbone': 'backbones',
    'distill': 'distillers',
}

stand_in_for_mmcv_ops()
add_config_scope()


def __getattr__(name: str) -> Any:
    if name not in _LAZY:
        raise AttributeError(f'module {__name__!r} has no attribute {name!r}')
    try:
        return getattr(import_module(f'.{_LAZY[name]}', __name__), name)
    except ImportError as error:
        raise ImportError(_missing(name)) from error
    except AttributeError as error:  # These modules are empty without their library.
        library = {'detection': 'mmdet', 'segmentation': 'mmseg'}.get(_LAZY[name])
        if library is None:
            raise
        raise ImportError(
            f'mmmuse.{name} needs {library}; mmmuse check says what is missing'
        ) from error


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})


def _missing(name: str) -> str:
    """Return what the environment lacks for a name."""
    from .environment.requirements import check_environment

    try:
        check_environment()
    except InputError as fault:
        return f'mmmuse.{name} cannot be imported: {fault}'
    return f'mmmuse.{name} cannot be imported; mmmuse check says what does not fit'
