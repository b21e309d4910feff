import os
from pathlib import Path
from typing import Literal

from mmpretrain.datasets import BaseDataset

from mmmuse.errors import InputError
from mmmuse.registry import DATASETS

_WNIDS = 'wnids.txt'
_WORDS = 'words.txt'
_ANNOTATIONS = 'val_annotations.txt'


@DATASETS.register_module()
class TinyImageNet(BaseDataset):
    """TinyImageNet-200, 64x64 images, in the layout of its archive.

    ::

        data_root/wnids.txt, words.txt
        data_root/train/n01443537/images/*.JPEG
        data_root/val/images/*.JPEG
        data_root/val/val_annotations.txt

    A class's label is its index in the sorted WordNet ids, as in torchvision's ``ImageFolder``.

    Args:
        data_root: The folder ``tiny-imagenet-200``.
        split: ``'train'`` or ``'val'`` (the test images have no labels).
        **kwargs: Those of mmpretrain's ``BaseDataset``: pipeline, indices, ...

    Raises:
        InputError: If the folder, a class or the annotation file is missing, or
            the annotations have an unknown class or image.

    Source: Stanford CS231n, "Tiny ImageNet Visual Recognition Challenge" (2015).
    """

    image_shape = (3, 64, 64)

    def __init__(
        self, data_root: str | os.PathLike = '', split: Literal['train', 'val'] = 'train', **kwargs
    ) -> None:
        self.split = split
        root = Path(data_root).expanduser()
        self.wnids = sorted(_read(root / _WNIDS, root).split())
        words = dict(
            line.split('\t', 1) for line in _read(root / _WORDS, root).splitlines() if '\t' in line
        )
        classes = [words.get(wnid, wnid).partition(',')[0].strip() for wnid in self.wnids]
        super().__init__(ann_file='', data_root=str(root), metainfo=dict(classes=classes), **kwargs)

    def load_data_list(self) -> list[dict]:
        """Return the path and the label of every image."""
        root = Path(self.data_root)
        labels = {wnid: label for label, wnid in enumerate(self.wnids)}
        if self.split == 'val':
            return self._validation(root / 'val', labels)
        return [
            dict(img_path=str(root / 'train' / wnid / 'images' / name), gt_label=label)
            for wnid, label in labels.items()
            for name in _images(root / 'train' / wnid / 'images', root, f'class {wnid}')
        ]

    def _validation(self, folder: Path, labels: dict[str, int]) -> list[dict]:
        annotations = folder / _ANNOTATIONS
        found = set(_images(folder / 'images', folder.parent, 'the validation set'))
        samples = []
        for number, line in enumerate(_read(annotations, folder.parent).splitlines(), 1):
            name, wnid, *_ = [*line.split('\t'), '']
            if wnid not in labels:
                raise InputError(
                    f'{annotations}, line {number}: {wnid!r} is not one of the {len(labels)} '
                    f'classes in {_WNIDS}'
                )
            if name not in found:
                raise InputError(f'{annotations}, line {number}: {name!r} is not in images/')
            samples.append(dict(img_path=str(folder / 'images' / name), gt_label=labels[wnid]))
        if not samples:
            raise InputError(f'{annotations} is empty')
        return samples


def _read(path: Path, root: Path) -> str:
    if not path.is_file():
        raise InputError(_missing(path, root))
    try:
        return path.read_text(encoding='utf-8')
    except UnicodeDecodeError as error:
        raise InputError(
            f'{path} is not text in UTF-8; unpack tiny-imagenet-200.zip again'
        ) from error


def _images(folder: Path, root: Path, of: str) -> list[str]:
    names = sorted(os.listdir(folder)) if folder.is_dir() else []
    names = [name for name in names if name.lower().endswith('.jpeg')]
    if not names:
        raise InputError(f'{_missing(folder, root)}; {of} has no images')
    return names


def _missing(path: Path, root: Path) -> str:
    return (
        f'TinyImageNet in {root} is incomplete, {path.relative_to(root)} is missing or empty: '
        'unpack tiny-imagenet-200.zip there again, or name its folder with data_root'
    )
