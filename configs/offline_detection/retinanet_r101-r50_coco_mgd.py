_base_ = 'retinanet_r101-r50_coco_pkd.py'

# Masked generation of the teacher's maps, with the paper's constants for detectors of one stage.
model = dict(losses=[dict(type='mmmuse.MGDLoss', mask_ratio=0.65, loss_weight=2e-5)])
