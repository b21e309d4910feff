"""Detectors' parts; empty where mmdet is not installed."""

from importlib.util import find_spec

if find_spec('mmdet') is not None:
    from .checked_coco import CheckedCocoDataset
    from .load_checked_image import LoadCheckedImage
    from .yolov5_head import YOLOv5Head
    from .yolov5_pafpn import YOLOv5PAFPN

    __all__ = ['CheckedCocoDataset', 'LoadCheckedImage', 'YOLOv5Head', 'YOLOv5PAFPN']
