# 2,000 labels of CIFAR-100 on two cores: from scratch, with supervised KD, and fine-tuned after 20,000 images without labels. The
# teacher is trained once. In bfloat16.
title = '2,000 labels: pretraining without labels'
references = ['from scratch', 'KD']
caption = """
The teacher and the rows without labels are evaluated on held-out training images, the latter by the accuracy of nearest neighbours; the others have
top-1 on the test set.
"""

options = {
    'optim_wrapper.type': 'mmmuse.BFloat16OptimWrapper',
    'default_hooks.channels_last.type': 'mmmuse.ChannelsLastHook',
}

_folder = 'configs/unlabelled'
_teacher = {'model.teacher_checkpoint': '{after}'}


def _pretrained(name, config):
    without_labels = f'without labels{name}'
    return [
        dict(
            name=without_labels,
            config=f'{_folder}/{config}.py',
            metric='knn/top1',
            after='the teacher',
            options=_teacher,
        ),
        dict(
            name=f'fine-tuned{name}',
            config=f'{_folder}/resnet20_cifar100-2k_fine-tuned.py',
            after=without_labels,
            options={'model.backbone.init_cfg.checkpoint': '{after}'},
        ),
    ]


rows = [
    dict(name='the teacher', config=f'{_folder}/resnet56_cifar100-25k.py', seed=0),
    dict(name='from scratch', config=f'{_folder}/resnet20_cifar100-2k.py'),
    dict(
        name='KD',
        config=f'{_folder}/resnet56-resnet20_cifar100-2k_kd.py',
        after='the teacher',
        options=_teacher,
    ),
    *_pretrained('', 'resnet20_cifar100-20k_features'),
    *_pretrained(', MI x SI', 'resnet20_cifar100-20k_features_mi_x_si'),
]
