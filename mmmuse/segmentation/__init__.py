"""Parts of segmenters; empty if mmseg, which no other part needs, cannot be imported."""

try:
    import mmseg.datasets
    import mmseg.models  # noqa: F401
except ImportError as error:
    import_error = error
else:
    from .checked_masks import CheckedMasksHook, LoadCheckedMask
    from .class_iou_metric import ClassIoUMetric
    from .early_exit_segmenter import EarlyExitSegmenter
    from .exit_segmentation_metric import ExitSegmentationMetric
    from .segmentation_exit import SegmentationExit
    from .segmentation_self_distiller import SegmentationSelfDistiller

    __all__ = [
        'CheckedMasksHook',
        'ClassIoUMetric',
        'EarlyExitSegmenter',
        'ExitSegmentationMetric',
        'LoadCheckedMask',
        'SegmentationExit',
        'SegmentationSelfDistiller',
    ]
