import os
import re
from pathlib import Path
from typing import Literal

import cv2
from mmpretrain.datasets import BaseDataset

from mmmuse.checkpoints.regular_file import why_no_file
from mmmuse.errors import InputError
from mmmuse.registry import DATASETS

_WNIDS = 'wnids.txt'
_WORDS = 'words.txt'
_ANNOTATIONS = 'val_annotations.txt'
_WNID = re.compile(r'n\d+')


@DATASETS.register_module()
class TinyImageNet(BaseDataset):
    """TinyImageNet-200, 64x64 images, in the layout of its archive.

    The files::

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
        InputError: If the folder, a class or the annotation file is missing or not text, the
            annotations have an unknown class or image, a class or an image is in the folders and
            not in the files, or, when it is read, a file is not an image.

    Source: Stanford CS231n, "Tiny ImageNet Visual Recognition Challenge" (2015).
    """

    image_shape = (3, 64, 64)

    def __init__(
        self, data_root: str | os.PathLike = '', split: Literal['train', 'val'] = 'train', **kwargs
    ) -> None:
        self.split = split
        root = Path(data_root).expanduser()
        self.wnids = sorted(_read(root / _WNIDS, root).split())
        _check_wnids(self.wnids, root)
        words = dict(
            line.split('\t', 1) for line in _read(root / _WORDS, root).splitlines() if '\t' in line
        )
        classes = [words.get(wnid, wnid).partition(',')[0].strip() for wnid in self.wnids]
        super().__init__(ann_file='', data_root=str(root), metainfo=dict(classes=classes), **kwargs)

    def load_data_list(self) -> list[dict]:
        """Return the path and the label of every image."""
        root = Path(self.data_root)
        _refuse_unlisted_classes(root, self.wnids)
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
        samples, annotated = [], set()
        for number, line in enumerate(_read(annotations, folder.parent).splitlines(), 1):
            name, wnid, *_ = [*line.split('\t'), '']
            if wnid not in labels:
                raise InputError(
                    f'{annotations}, line {number}: {wnid!r} is not one of the {len(labels)} '
                    f'classes in {_WNIDS}'
                )
            if name not in found:
                raise InputError(f'{annotations}, line {number}: {name!r} is not in images/')
            if name in annotated:
                raise InputError(f'{annotations}, line {number}: {name!r} has a line before')
            annotated.add(name)
            samples.append(dict(img_path=str(folder / 'images' / name), gt_label=labels[wnid]))
        if not samples:
            raise InputError(f'{annotations} is empty')
        if missing := sorted(found - annotated):
            raise InputError(
                f'{annotations} has no line for {len(missing)} of {len(found)} images, such as '
                f'{missing[0]}: unpack tiny-imagenet-200.zip again, or remove the images'
            )
        return samples

    def prepare_data(self, idx: int) -> dict:
        """Load an image and its label.

        Raises:
            InputError: If the file cannot be read or is not an image.
        """
        try:
            return super().prepare_data(idx)
        except (OSError, AssertionError, cv2.error, InputError) as error:
            path = self.get_data_info(idx)['img_path']
            why = why_no_file(path)  # First: who refuses the file, and how, depends on the reader.
            if why is None and isinstance(error, OSError):
                why = error.strerror or str(error)
            if why is None and ('failed to load image' in str(error) or 'imdecode' in str(error)):
                why = 'not an image'
            if why is None:
                raise
            raise InputError(f'cannot read image {path}: {why}') from error


def _read(path: Path, root: Path) -> str:
    if not path.is_file():
        raise InputError(_missing(path, root))
    try:
        return path.read_text(encoding='utf-8')
    except UnicodeDecodeError as error:
        raise InputError(f'{path} is not a text file: {error}') from error


def _check_wnids(wnids: list[str], root: Path) -> None:
    """Check the sorted classes: they name folders, and each has one label."""
    if not wnids:
        raise InputError(_missing(root / _WNIDS, root))
    for i, wnid in enumerate(wnids):
        if not _WNID.fullmatch(wnid):
            raise InputError(
                f'{root / _WNIDS}: {wnid[:40]!r} is not a WordNet id such as n01443537'
            )
        if wnid in wnids[i + 1 : i + 2]:  # They are sorted.
            raise InputError(f'{root / _WNIDS}: class {wnid} is given twice')


def _refuse_unlisted_classes(root: Path, wnids: list[str]) -> None:
    """Refuse folders of classes that the list lacks, as where it was cut off."""
    folders = os.listdir(root / 'train') if (root / 'train').is_dir() else []
    unlisted = sorted(set(filter(_WNID.fullmatch, folders)) - set(wnids))
    if unlisted:
        raise InputError(
            f'{root / _WNIDS} lacks {len(unlisted)} classes of train/, such as {unlisted[0]}: '
            'unpack tiny-imagenet-200.zip again, or remove the folders'
        )


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
