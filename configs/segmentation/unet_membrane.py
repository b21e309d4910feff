_base_ = [
    '../_base_/models/unet_narrow.py',
    '../_base_/datasets/membrane_128.py',
    '../_base_/schedules/membrane_40e.py',
    '../_base_/segmentation_runtime.py',
]
