import hashlib
import os
import pickle
import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import ClassVar, Literal

import mmengine.dist as dist
import numpy as np
from mmpretrain.datasets import CIFAR10, CIFAR100
from mmpretrain.datasets.utils import download_and_extract_archive

from mmmuse.arguments import NonNegativeInt, PositiveInt
from mmmuse.checkpoints.regular_file import NOT_FOUND, why_no_file
from mmmuse.errors import InputError
from mmmuse.registry import DATASETS

from .batched import BatchedImages

_MAX_BYTES = 2**28  # The largest of the files has 156 MB.


class CIFARFiles:
    """The files of a CIFAR set in mmpretrain's layout, with one-line errors.

    Args:
        source: mmpretrain's class, for the names, the checksums and the archive.
        data_root: The folder of ``source.base_folder``.
    """

    def __init__(self, source: type[CIFAR10], data_root: str) -> None:
        self.source = source
        self.folder = Path(data_root).expanduser() / source.base_folder
        self.names = [name for name, _ in source.train_list + source.test_list]

    def download_if_missing(self) -> None:
        """Download the archive in the main process; the others wait.

        Raises:
            InputError: If the download fails; partial files are removed.
        """
        root = self.folder.parent
        error = None
        if dist.is_main_process() and not all((self.folder / name).exists() for name in self.names):
            try:
                with _removed_on_error(
                    self.folder, root / self.source.filename, root, *root.parents
                ):
                    download_and_extract_archive(
                        self.source.url,
                        str(root),
                        filename=self.source.filename,
                        md5=self.source.tgz_md5,
                    )
            except Exception as exc:  # Of any kind: the remedy is the same.
                error = exc
        dist.barrier()  # In every process, also one that starts when the files exist.
        if error is not None:
            raise self._missing(f'and the download failed ({error})') from error

    def read(self, name: str, md5: str) -> bytes:
        """Return the content of a file.

        Raises:
            InputError: If it is missing, or its md5 sum differs.
        """
        path = self.folder / name
        why = why_no_file(path)
        if why is not None:
            missing = why == NOT_FOUND
            raise self._missing(f'{name} is missing' if missing else f'of {name} {why}')
        content = path.read_bytes() if os.path.getsize(path) <= _MAX_BYTES else b''
        if hashlib.md5(content).hexdigest() != md5:
            raise InputError(
                f'{path} is damaged (its md5 sum is not {md5}): delete it and unpack '
                f'{self.source.filename} again'
            )
        return content

    def _missing(self, reason: str) -> InputError:
        return InputError(
            f'{self.source.__name__} is not in {self.folder.parent}, {reason}: unpack '
            f'{self.source.filename} there, so that {self.folder}{os.sep} holds '
            f'{", ".join(self.names)}, or name its folder with data_root'
        )


class BatchedCIFAR(BatchedImages):
    """A CIFAR set as one array; see :class:`BatchedImages`.

    Files, checksums and the download are those of mmpretrain's class ``source``. A file is checked
    before it is unpickled.

    Args:
        data_root: The folder of ``source.base_folder``.
        split: ``'train'`` or ``'test'``.
        download: Whether to download the archive where files are missing.
        indices: Keep only the first ``indices`` images, or those of a list.
        start: Leave out as many images at the beginning; ``indices`` counts from there.
        num_classes: Keep only the images of the first so many classes.
        images_per_class: Of each class keep only the first so many images, after ``start`` and before
            ``indices``.

    Raises:
        InputError: If a file is missing and cannot be downloaded, or is damaged; if there are fewer classes, or fewer
            images of one.

    Source: Krizhevsky, "Learning Multiple Layers of Features from Tiny Images" (2009).
    """

    image_shape = (3, 32, 32)
    source: ClassVar[type[CIFAR10]]

    def __init__(
        self,
        data_root: str | os.PathLike = '',
        split: Literal['train', 'test'] = 'train',
        download: bool = True,
        indices: int | Sequence[int] | None = None,
        start: NonNegativeInt = 0,
        num_classes: PositiveInt | None = None,
        images_per_class: PositiveInt | None = None,
    ) -> None:
        classes = self.source.METAINFO['classes']
        if num_classes is not None and num_classes > len(classes):
            raise InputError(
                f'{self.source.__name__} has {len(classes)} classes, not {num_classes}'
            )
        files = CIFARFiles(self.source, data_root)
        if download:
            files.download_if_missing()
        entries = [
            pickle.loads(files.read(name, md5), encoding='bytes')
            for name, md5 in (self.source.train_list if split == 'train' else self.source.test_list)
        ]
        images = [entry[b'data'] for entry in entries]
        images = images[0] if len(images) == 1 else np.concatenate(images)
        labels = np.concatenate(
            [entry.get(b'labels') or entry[b'fine_labels'] for entry in entries]
        )
        images, labels = images.reshape(-1, 3, 32, 32)[start:], labels[start:]
        kept = _of_classes(labels, num_classes or len(classes), images_per_class)
        super().__init__(images[kept], labels[kept], classes[:num_classes], indices)


def _of_classes(labels: np.ndarray, num_classes: int, per_class: int | None) -> np.ndarray | slice:
    """Return which images are kept, in their order.

    Raises:
        InputError: If a class has fewer than ``per_class`` images.
    """
    kept = labels < num_classes
    if per_class is not None:
        counts = np.bincount(labels[kept], minlength=num_classes)
        if counts.min() < per_class:
            raise InputError(
                f'images_per_class is {per_class}, and class {counts.argmin()} has {counts.min()} images'
            )
        for label in range(num_classes):
            kept[np.flatnonzero(labels == label)[per_class:]] = False
    return slice(None) if kept.all() else kept


@contextmanager
def _removed_on_error(*paths: Path) -> Iterator[None]:
    """On an error, remove those of the paths that did not exist before.

    Args:
        paths: The first is removed with its content; other folders only if they are empty.
    """
    new = [path for path in paths if not path.exists()]
    try:
        yield
    except BaseException:
        for path in new:
            if path.is_file():
                path.unlink()
            elif path == paths[0]:
                shutil.rmtree(path, ignore_errors=True)
            elif path.is_dir() and not any(path.iterdir()):
                path.rmdir()
        raise


@DATASETS.register_module()
class BatchedCIFAR10(BatchedCIFAR):
    """CIFAR-10; see :class:`BatchedCIFAR` for the arguments."""

    source = CIFAR10


@DATASETS.register_module()
class BatchedCIFAR100(BatchedCIFAR):
    """CIFAR-100; see :class:`BatchedCIFAR` for the arguments."""

    source = CIFAR100


@DATASETS.register_module()
class PerSampleCIFAR100(CIFAR100):
    """mmpretrain's CIFAR-100 with checked files; the arguments are the same.

    Raises:
        InputError: If a file is missing and cannot be downloaded, or is damaged.
    """

    def load_data_list(self) -> list[dict]:
        """Return mmpretrain's list of images and labels."""
        files = CIFARFiles(CIFAR100, self.data_prefix['root'])
        if self.download:
            files.download_if_missing()
        for name, md5 in self.train_list + self.test_list:
            files.read(name, md5)
        self.download = False
        return super().load_data_list()
