"""Tokens as a map."""

from collections.abc import Mapping, Sequence
from functools import lru_cache
from math import isqrt

from torch import Tensor

from mmmuse.errors import InputError
from mmmuse.functional.views import MOST_PREFIX_TOKENS


def as_map(feature: Tensor, size: Sequence[int], num_prefix_tokens: int = 0) -> Tensor:
    """Return tokens ``(N, L, C)`` as a map ``(N, C, h, w)`` of the image.

    The grid is that of a stride: ``ceil(H / s) * ceil(W / s)`` locations, where sides are rounded
    up, as in pyramids, or rounded down, as in a ViT without padding.

    Args:
        feature: Tokens, row by row after a prefix; a map is returned as it is.
        size: ``(H, W)`` of the images.
        num_prefix_tokens: Tokens before the grid, which are dropped: the class token, say.

    Raises:
        InputError: If no stride has so many locations.

    Example:
        >>> import torch
        >>> as_map(torch.zeros(2, 32, 5), (64, 128)).shape
        torch.Size([2, 5, 4, 8])
    """
    if feature.ndim == 4:
        return feature
    height, width = map(int, size[:2])
    length = int(feature.shape[1]) - num_prefix_tokens
    rows = _rows(length, height, width)
    if rows is None:
        after = f' after {num_prefix_tokens} prefix tokens' if num_prefix_tokens else ''
        raise InputError(
            f'{length} tokens{after} are not a grid of an image of {height}x{width} pixels; tap a module '
            'that outputs maps'
        )
    return feature[:, num_prefix_tokens:].transpose(1, 2).unflatten(2, (rows, length // rows))


def grid_of_tokens(length: int, size: Sequence[int]) -> tuple[tuple[int, int], int]:
    """Return the grid of tokens and the number of prefix tokens before it.

    The grid has the image's aspect ratio. Tokens of a square image, and those that fit no grid with a few prefix tokens,
    are read as the largest square with all others before it; what has too many of these is refused by what reads maps.

    Args:
        length: Number of the tokens.
        size: ``(H, W)`` of the images.

    Example:
        >>> grid_of_tokens(33, (64, 128)), grid_of_tokens(17, (64, 64))
        (((4, 8), 1), ((4, 4), 1))
    """
    height, width = map(int, size[:2])
    if height != width:
        fitting = [
            (*found, number)
            for number in range(min(MOST_PREFIX_TOKENS, length - 1) + 1)
            if (found := _best_grid(length - number, height, width)) is not None
        ]
        if fitting:  # That of a stride that is a power of two, then that of the shortest prefix.
            _, rows, number = min(fitting, key=lambda each: (each[0], each[2]))
            return (rows, (length - number) // rows), number
    side = isqrt(length)
    return (side, side), length - side**2


def with_grids(
    features: Mapping[str, Tensor], num_prefix_tokens: Mapping[str, int], size: Sequence[int]
) -> dict[str, Tensor]:
    """Return the features of images that are not square, with tokens as maps.

    Without its image, tokens can be read as a square grid only. Tokens that are not a grid stay what they are.

    Args:
        features: By path.
        num_prefix_tokens: Of each, by path.
        size: ``(H, W)`` of the images.
    """
    height, width = map(int, size[:2])
    if height == width:
        return dict(features)
    found = {}
    for path, feature in features.items():
        prefix = num_prefix_tokens[path]
        is_grid = feature.ndim == 3 and _rows(int(feature.shape[1]) - prefix, height, width)
        found[path] = as_map(feature, size, prefix) if is_grid else feature
    return found


def _rows(length: int, height: int, width: int) -> int | None:
    """Return the rows of the grid of a stride that has so many locations; None if there is none."""
    found = _best_grid(length, height, width)
    return None if found is None else found[1]


@lru_cache(maxsize=4096)
def _best_grid(length: int, height: int, width: int) -> tuple[bool, int] | None:
    """Return whether the stride of a grid of so many locations is no power of two, and its rows.

    Both sides of a grid fall with its stride, so that all strides with as many locations have the
    same grid. Where both roundings have one, a stride that is a power of two comes first.
    """
    found = []
    for rounded in (_up, _down):
        for stride in range(1, max(height, width) + 1):
            rows = rounded(height, stride)
            if rows * rounded(width, stride) == length:
                found.append((stride & (stride - 1) != 0, rows))
    return min(found, key=lambda each: each[0]) if found else None


def _up(side: int, stride: int) -> int:
    return -(-side // stride)


def _down(side: int, stride: int) -> int:
    return side // stride
