_base_ = 'resnet18_tinyimagenet.py'

model = dict(backbone=dict(depth=34))
