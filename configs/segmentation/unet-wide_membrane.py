# The teacher of unet-wide-narrow_membrane_kd_mi_x_si.py: twice as wide.
_base_ = 'unet_membrane.py'

model = dict(
    backbone=dict(base_channels=32),
    decode_head=dict(in_channels=32, channels=32),
)
