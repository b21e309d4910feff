_base_ = [
    '../_base_/models/yolov5_s.py',
    '../_base_/datasets/coco_mosaic.py',
    '../_base_/schedules/yolov5_300e.py',
    '../_base_/detection_runtime.py',
]
