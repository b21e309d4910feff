"""Tokens as a map."""

from collections.abc import Sequence
from functools import lru_cache

from torch import Tensor

from mmmuse.errors import InputError


def as_map(feature: Tensor, size: Sequence[int]) -> Tensor:
    """Return tokens ``(N, L, C)`` as a map ``(N, C, h, w)`` of the image.

    The grid is that of a stride: ``ceil(H / s) * ceil(W / s)`` locations, where sides are rounded
    up, as in pyramids, or rounded down, as in a ViT without padding.

    Args:
        feature: Tokens without prefix, row by row; a map is returned as it is.
        size: ``(H, W)`` of the images.

    Raises:
        InputError: If no stride has so many locations.

    Example:
        >>> import torch
        >>> as_map(torch.zeros(2, 32, 5), (64, 128)).shape
        torch.Size([2, 5, 4, 8])
    """
    if feature.ndim == 4:
        return feature
    length, (height, width) = int(feature.shape[1]), map(int, size[:2])
    rows = _rows(length, height, width)
    if rows is None:
        raise InputError(
            f'{length} tokens are not a grid of an image of {height}x{width} pixels; tap a module that '
            'outputs maps'
        )
    return feature.transpose(1, 2).unflatten(2, (rows, length // rows))


@lru_cache(maxsize=4096)
def _rows(length: int, height: int, width: int) -> int | None:
    """Return the rows of the grid of a stride that has so many locations; None if there is none.

    Both sides of a grid fall with its stride, so that all strides with as many locations have the
    same grid. Where both roundings have one, a stride that is a power of two comes first.
    """
    found = []
    for rounded in (_up, _down):
        for stride in range(1, max(height, width) + 1):
            rows = rounded(height, stride)
            if rows * rounded(width, stride) == length:
                found.append((stride & (stride - 1) != 0, rows))
    return min(found, key=lambda each: each[0])[1] if found else None


def _up(side: int, stride: int) -> int:
    return -(-side // stride)


def _down(side: int, stride: int) -> int:
    return side // stride
