"""The images and class names of a config's data, for pictures."""

import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from copy import deepcopy
from pathlib import Path

import numpy as np
from mmengine.config import Config
from mmengine.dataset import BaseDataset
from mmengine.model import BaseModel

from mmmuse.datasets import LoadCheckedImage
from mmmuse.datasets.image_header import MAX_PIXELS
from mmmuse.errors import InputError
from mmmuse.registry import DATASETS


def class_names(config: Config, split: str, network: BaseModel) -> list[str]:
    """Return the class names of the checkpoint and the data set.

    Raises:
        InputError: If the two differ in names or order.
    """
    dataset = {**deepcopy(dataset_config(config, split)), 'lazy_init': True}
    shown = list(DATASETS.build(dataset).metainfo.get('classes') or ())
    names = (network.dataset_meta or {}).get('classes')
    trained = shown if names is None or len(names) == 0 else list(names)
    if shown and trained != shown:
        raise InputError(
            f'the checkpoint was trained on the classes {", ".join(trained)} and the data set '
            f'of {split}_dataloader has {", ".join(shown)}'
        )
    return trained


def dataset_config(config: Config, split: str) -> dict:
    """Return the config of the data of a split.

    Raises:
        InputError: If the config has none.
    """
    loader = config.get(f'{split}_dataloader')
    if not loader:
        raise InputError(f'the config has no {split}_dataloader')
    return loader['dataset']


def first_images(config: Config, split: str, limit: int) -> Iterator[tuple[dict, dict, np.ndarray]]:
    """Iterate over the first images of a config's data.

    Args:
        config: With ``val_dataloader`` or ``test_dataloader``.
        split: ``'val'`` or ``'test'``.
        limit: Maximum number of images.

    Yields:
        What the data set knows of an image, what its pipeline makes of it, and the image: RGB,
        ``(H, W, 3)``, as in the file.

    Raises:
        InputError: If the config has no such data or no image, or an image cannot be read.
    """
    dataset: BaseDataset = DATASETS.build(deepcopy(dataset_config(config, split)))
    if not len(dataset):
        raise InputError(f'the data set of {split}_dataloader has no images')
    read = image_reader(dataset_config(config, split))
    for i in range(min(limit, len(dataset))):
        info = dataset.get_data_info(i)
        image = read(info['img_path'])
        yield info, dataset[i], image


def fields_of_exits(names: Iterable[str], kind: str) -> dict[str, str]:
    """Return the fields of a data sample that hold the predictions of exits, by their titles.

    Example:
        >>> fields_of_exits(['exit10_sem_seg', 'exit2_sem_seg', 'gt_sem_seg'], 'sem_seg')
        {'Exit 2': 'exit2_sem_seg', 'Exit 10': 'exit10_sem_seg'}
    """
    found = (re.fullmatch(rf'exit(\d+)_{kind}', name) for name in names)
    numbers = sorted(int(match[1]) for match in found if match)
    return {f'Exit {number}': f'exit{number}_{kind}' for number in numbers}


def innermost(dataset: dict) -> dict:
    """Return the config of the data set inside its wrappers."""
    while 'dataset' in dataset or 'datasets' in dataset:
        dataset = dataset['dataset'] if 'dataset' in dataset else dataset['datasets'][0]
    return dataset


def image_reader(dataset: dict) -> Callable[[str], np.ndarray]:
    """Return a function that reads an image as RGB, with the limit of a data set's pipeline."""
    limits = [step.get('max_pixels') for step in innermost(dataset).get('pipeline') or []]
    load = LoadCheckedImage(max_pixels=next(filter(None, limits), MAX_PIXELS))
    return lambda path: load.transform(dict(img_path=path))['img'][..., ::-1]


def picture_name(path: str, taken: Sequence[str]) -> str:
    """Return the name of an image's PNG, numbered where another image has the same name.

    Example:
        >>> picture_name('b/cells.jpg', []), picture_name('b/cells.jpg', ['cells.png'])
        ('cells.png', 'cells_2.png')
    """
    stem = name = Path(path).stem
    number = 1
    while f'{name}.png' in taken:
        number += 1
        name = f'{stem}_{number}'
    return f'{name}.png'
