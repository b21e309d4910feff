_base_ = 'unet_membrane_mi_x_si.py'

model = dict(head=dict(discrepancy=dict(combine='additive')))
