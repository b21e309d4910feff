# Pretraining without labels with MI x SI in addition, and its fine-tuning; the rows of unlabelled_2k.py are beside it.
title = '2,000 labels: pretraining without labels, with MUSE'
caption = """
The row without labels has the accuracy of nearest neighbours on held-out training images; the other has top-1 on the test set.
"""

rows = [
    dict(
        name='without labels, MI x SI',
        config='configs/unlabelled/resnet20_cifar100-20k_features_mi_x_si.py',
        metric='knn/top1',
    ),
    dict(
        name='fine-tuned, MI x SI',
        config='configs/unlabelled/resnet20_cifar100-2k_fine-tuned.py',
        after='without labels, MI x SI',
        options={'model.backbone.init_cfg.checkpoint': '{after}'},
    ),
]
