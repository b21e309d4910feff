"""Parts of detectors; empty if mmdet, which classification does not need, cannot be imported."""

try:
    import mmdet.datasets
    import mmdet.models  # noqa: F401
except ImportError as error:
    import_error = error
else:
    from .checked_coco import CheckedCocoDataset
    from .detection_exit import DetectionExit
    from .detection_self_distiller import DetectionSelfDistiller
    from .exit_detection_metric import ExitDetectionMetric
    from .yolov5_head import YOLOv5Head
    from .yolov5_pafpn import YOLOv5PAFPN
    from .zero_coco_metric import ZeroCocoMetric

    __all__ = [
        'CheckedCocoDataset',
        'DetectionExit',
        'DetectionSelfDistiller',
        'ExitDetectionMetric',
        'YOLOv5Head',
        'YOLOv5PAFPN',
        'ZeroCocoMetric',
    ]
