from collections.abc import Sequence
from functools import cache
from typing import Literal

import numpy as np

from mmmuse.registry import DATASETS

from .batched import BatchedImages


@DATASETS.register_module()
class BatchedDigits(BatchedImages):
    """scikit-learn's 1,797 handwritten digits of 8x8 pixels.

    A fixed stratified split: 1,347 images to train on, 450 to test on. Grey
    values 0 to 16 are scaled to 0 to 240.

    Args:
        split: ``'train'`` or ``'test'``.
        indices: Keep only the first ``indices`` images, or those of a list.

    Raises:
        InputError: On another split.

    Source: ``sklearn.datasets.load_digits``; UCI "Optical Recognition of
    Handwritten Digits" (Alpaydin and Kaynak, 1998).
    """

    image_shape = (1, 8, 8)

    def __init__(
        self, split: Literal['train', 'test'] = 'train', indices: int | Sequence[int] | None = None
    ) -> None:
        images, labels, train, test = _digits()
        rows = train if split == 'train' else test
        super().__init__(images[rows], labels[rows], [str(i) for i in range(10)], indices)


@cache
def _digits() -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Return all images and labels, and the rows of either split."""
    # Not at the top: mmmuse.datasets is imported for any data set, and scikit-learn is slow.
    from sklearn.datasets import load_digits
    from sklearn.model_selection import train_test_split

    digits = load_digits()
    images = (digits.images * 15).astype(np.uint8)[:, None]
    train, test = train_test_split(np.arange(len(images)), stratify=digits.target, random_state=0)
    return images, digits.target, train, test
