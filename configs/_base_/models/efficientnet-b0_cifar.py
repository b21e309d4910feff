_base_ = 'classifier_cifar100.py'

model = dict(backbone=dict(type='EfficientNet', arch='b0'), head=dict(in_channels=1280))
