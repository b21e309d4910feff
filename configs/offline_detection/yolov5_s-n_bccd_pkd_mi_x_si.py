_base_ = 'yolov5_s-n_bccd_pkd.py'

model = dict(
    losses=[
        dict(type='mmmuse.PKDLoss', loss_weight=1.0, modules=[3, 4, 5]),
        dict(type='mmmuse.MUSELoss', modules=[1, 2], critic=dict(num_locations=64)),
    ]
)
