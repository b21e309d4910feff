"""Options for a data set inside a wrapper, given to the wrapper."""

from collections.abc import Mapping
from typing import Any

from mmmuse.errors import InputError

from .data_paths import data_sets

_EVERY = {'type', '_scope_', 'lazy_init'}
# What the wrappers of MMEngine, mmpretrain and mmdet read, none of which takes other keys.
_READ = {
    'ClassBalancedDataset': {'dataset', 'oversample_thr'},
    'ConcatDataset': {'datasets', 'ignore_keys'},
    'KFoldDataset': {'dataset', 'fold', 'num_splits', 'test_mode', 'seed'},
    'MultiImageMixDataset': {'dataset', 'pipeline', 'skip_type_keys', 'max_refetch'},
    'RepeatDataset': {'dataset', 'times'},
}
_LIBRARIES = {'', 'mmengine', 'mmpretrain', 'mmdet', 'mmseg'}


def check_wrapped_data(config: Mapping[str, Any]) -> None:
    """Check the keys of data sets that wrap another one.

    Raises:
        InputError: If a wrapper does not read one of its keys; it names the key of the data set inside.
    """
    for split in ('train', 'val', 'test'):
        loader = config.get(f'{split}_dataloader')
        if isinstance(loader, Mapping):
            for path, dataset in data_sets(loader.get('dataset'), f'{split}_dataloader.dataset'):
                _check(path, dataset)


def _check(path: str, dataset: Mapping[str, Any]) -> None:
    kind = dataset.get('type')
    scope, _, name = kind.rpartition('.') if isinstance(kind, str) else ('?', '', '')
    if scope not in _LIBRARIES or name not in _READ:
        return
    inside = f'{path}.dataset' if 'dataset' in _READ[name] else f'{path}.datasets.0'
    if name == 'ConcatDataset' and not isinstance(dataset.get('datasets'), (list, tuple)):
        return  # mmdet makes several from one with lists of files.
    for key in sorted(set(dataset) - _READ[name] - _EVERY):
        raise InputError(
            f'{path}.{key} is not read by {name}, which wraps another data set: set {inside}.{key}'
        )
