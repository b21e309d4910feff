# 2,000 labels of CIFAR-100 on two cores: from scratch, with supervised KD, and fine-tuned after 20,000 images without labels.
# Train the teacher first: mmmuse train configs/unlabelled/resnet56_cifar100-25k.py
title = '2,000 labels: pretraining without labels'
caption = """
The row without labels has the accuracy of nearest neighbours on held-out training images; the others have top-1 on the test set.
"""

_fine_tuned = 'configs/unlabelled/resnet20_cifar100-2k_fine-tuned.py'
_features = 'configs/unlabelled/resnet20_cifar100-20k_features.py'

rows = [
    dict(name='from scratch', config='configs/unlabelled/resnet20_cifar100-2k.py'),
    dict(name='KD', config='configs/unlabelled/resnet56-resnet20_cifar100-2k_kd.py'),
    dict(name='without labels', config=_features, metric='knn/top1'),
    dict(
        name='fine-tuned',
        config=_fine_tuned,
        after='without labels',
        options={'model.backbone.init_cfg.checkpoint': '{after}'},
    ),
]
