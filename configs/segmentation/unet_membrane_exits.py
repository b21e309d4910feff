# Exits with their own loss and KD, without MUSE.
_base_ = 'unet_membrane_mi_x_si.py'

model = dict(head=None)
