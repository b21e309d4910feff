"""Files and folders that a config names, looked for before anything is built."""

import os
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from mmmuse.checkpoints.files_in_folder import files_in_folder
from mmmuse.checkpoints.regular_file import NOT_FOUND, why_no_file
from mmmuse.errors import InputError

_LIBRARIES = {'', 'mmpretrain', 'mmdet', 'mmmuse'}
# Data sets of an annotation file that is always read.
_ANNOTATED = {
    'CheckedCocoDataset',
    'CocoDataset',
    'CrowdHumanDataset',
    'DeepFashionDataset',
    'LVISV05Dataset',
    'LVISV1Dataset',
    'Objects365V1Dataset',
    'Objects365V2Dataset',
    'V3DetDataset',
    'VOCDataset',
    'XMLDataset',
}
# Data sets that read folders of images, and no annotation file if none is given.
_FOLDERS = {'CustomDataset', 'ImageNet', 'ImageNet21k', 'TinyImageNet'}
# Endings of the images that mmpretrain's CustomDataset reads, unless ``extensions`` has others.
IMAGE_ENDINGS = ('.jpg', '.jpeg', '.png', '.ppm', '.bmp', '.pgm', '.tif')
_HOW = 'put the data there, or set {key} (--cfg-options {key}=FOLDER)'


def check_data_exists(config: Mapping[str, Any], splits: Sequence[str]) -> None:
    """Check that the data of a config is where it says.

    Only data sets are checked that are known to read it: one that downloads itself, one of a user's
    own, or one of another storage is not. The config may have values that are not known yet.

    Args:
        config: Its keys.
        splits: Of ``'train'``, ``'val'`` and ``'test'``.

    Raises:
        InputError: If a folder or an annotation file does not exist; it names the key.
    """
    for split in splits:
        loader = config.get(f'{split}_dataloader')
        if isinstance(loader, Mapping):
            for path, dataset in data_sets(loader.get('dataset'), f'{split}_dataloader.dataset'):
                _check(path, dataset)


def check_files_exist(config: Mapping[str, Any]) -> None:
    """Check the checkpoints and caches that a distiller's config names.

    Raises:
        InputError: If one does not exist; it names the key.
    """
    model = config.get('model')
    if not isinstance(model, Mapping) or 'student' not in model:
        return
    check_named_file('model.teacher_checkpoint', model.get('teacher_checkpoint'), 'checkpoint file')
    cache = model.get('teacher_cache')
    if isinstance(cache, (str, os.PathLike)):
        check_named_file('model.teacher_cache', Path(cache) / 'index.json', 'cache')
    teachers = model.get('teacher')
    for i, item in enumerate(teachers if isinstance(teachers, (list, tuple)) else ()):
        if isinstance(item, Mapping):
            key = f'model.teacher.{i}.checkpoint'
            check_named_file(key, item.get('checkpoint'), 'checkpoint file')


def check_pretrained_exist(config: Mapping[str, Any]) -> None:
    """Check the files that a model is initialised from when it is trained.

    Raises:
        InputError: If one does not exist; it names the key.
    """
    for path, part in _parts(config.get('model'), 'model'):
        if part.get('type') == 'Pretrained':
            check_named_file(f'{path}.checkpoint', part.get('checkpoint'), 'checkpoint file')


def check_named_file(key: str, path: Any, what: str) -> None:
    """Check that a file exists, if it is a local one.

    Args:
        key: That names it: of the config, or a flag.
        path: Of the file; anything but a local path is accepted.
        what: It is, for the message.

    Raises:
        InputError: If it does not exist, or is a folder, a FIFO, a device or a socket.
    """
    if isinstance(path, (str, os.PathLike)) and str(path) and ':' not in str(path):
        why = why_no_file(path)
        if why is not None:
            raise InputError(
                f'{key} {path}: no {what} {path}' + ('' if why == NOT_FOUND else f': {why}')
            )


def data_sets(value: Any, path: str) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """Yield a data set and those that it wraps, from the outside in, with their paths in the config."""
    if not isinstance(value, Mapping):
        return
    yield path, value
    yield from data_sets(value.get('dataset'), f'{path}.dataset')
    inner = value.get('datasets')
    for i, item in enumerate(inner if isinstance(inner, (list, tuple)) else ()):
        yield from data_sets(item, f'{path}.datasets.{i}')


def _parts(value: Any, path: str) -> Iterator[tuple[str, Mapping[str, Any]]]:
    if isinstance(value, Mapping):
        yield path, value
        for key, item in value.items():
            if key != 'teacher':  # Not initialised: it has a checkpoint of its own.
                yield from _parts(item, f'{path}.{key}')


def _check(path: str, dataset: Mapping[str, Any]) -> None:
    kind = dataset.get('type')
    scope, _, name = kind.rpartition('.') if isinstance(kind, str) else ('?', '', '')
    prefix = dataset.get('data_prefix')
    with_masks = isinstance(prefix, Mapping) and 'img_path' in prefix and scope in ('', 'mmseg')
    if not with_masks and (scope not in _LIBRARIES or name not in _ANNOTATED | _FOLDERS):
        return
    if any(dataset.get(key) is not None for key in ('backend_args', 'file_client_args')):
        return
    if with_masks:
        _check_masks(path, dataset, prefix)
        return
    root, annotations = dataset.get('data_root', ''), dataset.get('ann_file', '')
    if not _is_local(root) or not isinstance(annotations, str):
        return
    if annotations and not os.path.isabs(annotations):
        annotations = os.path.join(root or '', annotations)
    reads_root = name in _FOLDERS and not annotations and not _has_absolute_prefix(dataset)
    needs = annotations or (root if reads_root else '')
    if not needs or not _is_local(needs):
        return
    if Path(needs).expanduser().exists():
        if reads_root and name == 'CustomDataset' and dataset.get('with_label') is False:
            _check_has_images(path, dataset)
        return
    key = f'{path}.data_root'
    if root and not Path(root).expanduser().is_dir():
        raise InputError(f'{key}: no folder {root}; {_HOW.format(key=key)}')
    raise InputError(f'{path}.ann_file: annotation file not found: {needs}')


def _check_has_images(path: str, dataset: Mapping[str, Any]) -> None:
    """Check that a folder of images without labels has one."""
    prefix = dataset.get('data_prefix', '')
    prefix = prefix.get('img_path', '') if isinstance(prefix, Mapping) else prefix
    endings = dataset.get('extensions', IMAGE_ENDINGS)
    if not isinstance(prefix, str) or not isinstance(endings, (list, tuple)):
        return
    folder = Path(dataset.get('data_root') or '', prefix).expanduser()
    if not folder.is_dir():
        raise InputError(f'{path}.data_prefix: no folder {folder}')
    endings = tuple(str(ending).lower() for ending in endings)
    if not any(file.lower().endswith(endings) for file in files_in_folder(folder)):
        raise InputError(f'{path}: no images ({", ".join(endings)}) in {folder}')


def _check_masks(path: str, dataset: Mapping[str, Any], prefix: Mapping[str, Any]) -> None:
    """Check the folders of images and masks, and the list of names, of a data set of mmseg."""
    root, names = dataset.get('data_root') or '', dataset.get('ann_file') or ''
    if not all(map(_is_local, (root, names, *prefix.values()))):
        return
    folders = {key: Path(root, value).expanduser() for key, value in prefix.items() if value}
    for key, folder in folders.items():
        if not folder.is_dir():
            raise InputError(
                f'{path}.data_prefix.{key}: no folder {folder}; {_HOW.format(key=f"{path}.data_root")}'
            )
    if names and not Path(root, names).expanduser().exists():
        raise InputError(f'{path}.ann_file: list of images not found: {Path(root, names)}')
    suffix, images = dataset.get('img_suffix'), folders.get('img_path')
    if suffix and images and not names and not any(files_in_folder(images, suffix)):
        raise InputError(
            f'{path}: no images (*{suffix}) in {images}: set img_suffix, data_prefix or ann_file'
        )


def _is_local(path: Any) -> bool:
    return path is None or (isinstance(path, str) and ':' not in path)


def _has_absolute_prefix(dataset: Mapping[str, Any]) -> bool:
    """Return whether images may be elsewhere than in the root: also where that is not known."""
    prefix = dataset.get('data_prefix', '')
    values = prefix.values() if isinstance(prefix, Mapping) else [prefix]
    return not all(isinstance(value, str) and not os.path.isabs(value) for value in values)
