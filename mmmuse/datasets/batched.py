import os
from collections.abc import Sequence
from itertools import count
from multiprocessing.reduction import ForkingPickler
from typing import Any, NoReturn
from weakref import WeakValueDictionary

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset, get_worker_info

from mmmuse.errors import InputError
from mmmuse.registry import FUNCTIONS


class BatchedImages(Dataset):
    """Images in one uint8 array, read batch by batch.

    For MMEngine's own DataLoader and samplers: PyTorch's loader asks
    ``__getitems__`` for a batch of indices, and ``collate_fn=dict(type=
    'mmmuse.keep_batch')`` passes the batch on. Cropping, flipping and
    normalising are done by :class:`mmmuse.datasets.BatchedDataPreprocessor` on the model's device.

    Args:
        images: uint8, shape ``(M, C, H, W)``.
        labels: Integers from 0 to K - 1, shape ``(M, )``.
        classes: K class names.
        indices: Keep only the first ``indices`` images (the last, if negative),
            or those of a list, as MMEngine's datasets do.

    Raises:
        InputError: If the shapes or types do not match, or no image remains.
    """

    def __init__(
        self,
        images: np.ndarray,
        labels: np.ndarray,
        classes: Sequence[str],
        indices: int | Sequence[int] | None = None,
    ) -> None:
        labels = np.asarray(labels)
        if images.dtype != np.uint8 or images.ndim != 4 or labels.shape != images.shape[:1]:
            raise InputError(
                f'batched images are uint8 (M, C, H, W) with M labels, got '
                f'{images.dtype} {images.shape} and labels {labels.shape}'
            )
        if indices is not None:
            chosen = _chosen(indices, len(images))
            images, labels = images[chosen], labels[chosen]
        if len(images) == 0:
            raise InputError('the dataset has no images')
        if labels.dtype.kind not in 'iu' or labels.min() < 0 or labels.max() >= len(classes):
            raise InputError(
                f'labels are integers from 0 to {len(classes) - 1}, got '
                f'{labels.dtype} from {labels.min()} to {labels.max()}'
            )
        self.images = images
        self.labels = labels.astype(np.int64)
        self.metainfo = dict(classes=tuple(classes))
        self._register()

    def _register(self) -> None:
        self._key = (os.getpid(), next(_COUNT))
        _IN_THIS_PROCESS[self._key] = self

    def __setstate__(self, state: dict) -> None:
        self.__dict__.update(state)
        self._register()

    def __len__(self) -> int:
        return len(self.images)

    def get_gt_labels(self) -> np.ndarray:
        """Return the label of every image, ``(M, )``, under mmpretrain's name."""
        return self.labels

    def __getitems__(self, indices: Sequence[int]) -> dict[str, Tensor | int]:
        """Return a batch.

        Args:
            indices: N sample indices.

        Returns:
            ``inputs`` ``(N, C, H, W)`` uint8, ``gt_label`` and ``sample_idx``
            ``(N, )``, and ``num_samples``, the size of the data set.
        """
        return self._take(np.asarray(indices))

    def _take(self, chosen: np.ndarray) -> '_Batch':
        return _Batch(
            self._key,
            inputs=torch.from_numpy(self.images[chosen]),
            gt_label=torch.from_numpy(self.labels[chosen]),
            sample_idx=torch.from_numpy(chosen),
            num_samples=len(self),
        )

    def __getitem__(self, index: int) -> dict[str, Tensor]:
        """Return one image as a batch of one."""
        return self.__getitems__([index])


_COUNT = count()
_IN_THIS_PROCESS: WeakValueDictionary[tuple[int, int], BatchedImages] = WeakValueDictionary()


class _Batch(dict):
    """A batch that knows its data set, and whether it was modified."""

    def __init__(self, key: tuple[int, int], **fields: Tensor | int) -> None:
        super().__init__(fields)
        self.key = key
        self._original = {name: (value, _version(value)) for name, value in fields.items()}

    def __missing__(self, key: object) -> NoReturn:
        if isinstance(key, int):  # A collate function looks for the first of several samples.
            raise InputError(
                'a batch of images from one array is complete: set collate_fn='
                "dict(type='mmmuse.keep_batch') of the data loader"
            )
        raise KeyError(key)

    def is_unmodified(self) -> bool:
        return self.keys() == self._original.keys() and all(
            self[name] is value and _version(value) == version
            for name, (value, version) in self._original.items()
        )


def _version(value: Tensor | int) -> int:
    return value._version if isinstance(value, Tensor) and not value.is_inference() else 0


def _reduce_batch(batch: _Batch) -> tuple:
    # The parent of a forked worker has the same images: the indices are sufficient.
    if get_worker_info() and batch.key[0] == os.getppid() and batch.is_unmodified():
        return _take_again, (batch.key, batch['sample_idx'].numpy())
    return _rebuild_batch, (
        {
            name: value.numpy() if isinstance(value, Tensor) else value
            for name, value in batch.items()
        },
    )


def _take_again(key: tuple[int, int], chosen: np.ndarray) -> _Batch:
    return _IN_THIS_PROCESS[key]._take(chosen)


def _rebuild_batch(fields: dict[str, Any]) -> dict[str, Any]:
    return {
        name: torch.from_numpy(value) if isinstance(value, np.ndarray) else value
        for name, value in fields.items()
    }


# PyTorch opens a file and a connection for each tensor, which is four times as slow for small images.
ForkingPickler.register(_Batch, _reduce_batch)


def _chosen(indices: int | Sequence[int], num_images: int) -> slice | np.ndarray:
    if isinstance(indices, int):
        return slice(indices) if indices >= 0 else slice(indices, None)
    chosen = np.asarray(indices, dtype=np.int64)
    if chosen.size and not -num_images <= chosen.min() <= chosen.max() < num_images:
        raise InputError(
            f'indices are from {chosen.min()} to {chosen.max()}, for {num_images} images'
        )
    return chosen


@FUNCTIONS.register_module()
def keep_batch(batch: Any) -> Any:
    """Return a batch unchanged: the data set has collated it."""
    return batch
