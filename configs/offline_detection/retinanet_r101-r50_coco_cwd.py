_base_ = 'retinanet_r101-r50_coco_pkd.py'

# Channel-wise distillation; temperature and weight are assumed, the paper has segmenters.
model = dict(losses=[dict(type='mmmuse.CWDLoss', temperature=1.0, loss_weight=10.0)])
