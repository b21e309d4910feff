"""Conversion of a config's batched data to mmpretrain's per-sample data."""

from copy import deepcopy

_BATCHED = {
    'mmmuse.BatchedCIFAR10': 'CIFAR10',
    'mmmuse.BatchedCIFAR100': 'CIFAR100',
    'mmmuse.PerSampleCIFAR100': 'CIFAR100',
}
_CIFAR_SIZE = 32


def per_sample(config: dict) -> dict:
    """Return a config whose data passes through mmpretrain's transforms, one image at a time.

    Batched CIFAR becomes mmpretrain's data set, and the augmentation of ``BatchedDataPreprocessor``
    a pipeline, which mmpretrain's inferencer also reads. Other data sets are not changed.

    Args:
        config: A complete config; it is not changed.
    """
    config = deepcopy(config)
    preprocessor = dict(config.get('data_preprocessor') or {})
    resize = None
    augments = []
    if preprocessor.get('type') == 'mmmuse.BatchedDataPreprocessor' and not _stays_batched(config):
        del preprocessor['type']
        preprocessor.pop('seed', None)
        resize = preprocessor.pop('resize', None)
        padding = preprocessor.pop('crop_padding', 0)
        flip_prob = preprocessor.pop('flip_prob', 0)
        if padding:
            augments.append(dict(type='RandomCrop', crop_size=_CIFAR_SIZE, padding=padding))
        if flip_prob:
            augments.append(dict(type='RandomFlip', prob=flip_prob, direction='horizontal'))
        config['data_preprocessor'] = preprocessor
    for split in ('train', 'val', 'test'):
        dataset = (config.get(f'{split}_dataloader') or {}).get('dataset', {})
        if dataset.get('type') in _BATCHED:
            dataset['type'] = _BATCHED[dataset['type']]
            if 'pipeline' not in dataset:
                config[f'{split}_dataloader']['collate_fn'] = dict(type='default_collate')
                first = augments if split == 'train' else [_resized(_CIFAR_SIZE)]
                dataset['pipeline'] = [*first, dict(type='PackInputs')]
        if resize is not None and 'pipeline' in dataset:
            # Before the last transform, PackInputs.
            dataset['pipeline'][-1:] = [_resized(resize), dataset['pipeline'][-1]]
    return config


def _stays_batched(config: dict) -> bool:
    loaders = (config.get(f'{split}_dataloader') or {} for split in ('train', 'val', 'test'))
    return any(
        'pipeline' not in dataset and dataset.get('type') not in _BATCHED
        for dataset in (loader.get('dataset') for loader in loaders)
        if dataset
    )


def _resized(size: int) -> dict:
    return dict(type='Resize', scale=size)
