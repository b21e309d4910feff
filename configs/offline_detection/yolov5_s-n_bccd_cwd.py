_base_ = 'yolov5_s-n_bccd_pkd.py'

model = dict(
    losses=[dict(type='mmmuse.CWDLoss', temperature=1.0, loss_weight=10.0, modules=[3, 4, 5])]
)
