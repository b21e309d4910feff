# What the accuracy of the narrow ResNet-18 of configs/narrow loses when the critics score fewer locations of each image.
# In its batches of 128 the default, 1,024 of a batch, is 8 of an image.
title = 'Locations of each image, narrow ResNet-18'
references = ['CE + KD', 'MI x SI, 32 locations']

options = {
    'optim_wrapper.type': 'mmmuse.BFloat16OptimWrapper',
    'default_hooks.channels_last.type': 'mmmuse.ChannelsLastHook',
    'train_cfg.val_interval': 20,
}

_muse = 'configs/narrow/narrow-resnet18_cifar100_mi_x_si.py'

rows = [
    dict(name='CE + KD', config=_muse, options={'model.head': 'ce_kd'}),
    *(
        dict(
            name=f'MI x SI, {number or "all"} locations',
            config=_muse,
            options={'model.head.discrepancy.critic.num_locations': number},
        )
        for number in (4, 8, 16, 32, None)
    ),
]
