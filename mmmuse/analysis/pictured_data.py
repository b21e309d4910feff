"""The images and class names of a config's data, for pictures."""

from collections.abc import Callable, Sequence
from copy import deepcopy
from pathlib import Path

import numpy as np
from mmengine.config import Config
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
