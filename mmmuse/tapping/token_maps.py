"""Tokens as a map."""

from collections.abc import Sequence

from torch import Tensor

from mmmuse.errors import InputError


def as_map(feature: Tensor, size: Sequence[int]) -> Tensor:
    """Return tokens ``(N, L, C)`` as a map ``(N, C, h, w)`` with the image's aspect ratio.

    Args:
        feature: Tokens without prefix, row by row; a map is returned as it is.
        size: ``(H, W)`` of the images.

    Raises:
        InputError: If no grid of that aspect ratio has so many locations.

    Example:
        >>> import torch
        >>> as_map(torch.zeros(2, 32, 5), (64, 128)).shape
        torch.Size([2, 5, 4, 8])
    """
    if feature.ndim == 4:
        return feature
    length, (height, width) = feature.shape[1], size[:2]
    rows = round((length * height / width) ** 0.5)
    for number in (rows, rows + 1, rows - 1):  # Sides are rounded up where they are divided.
        if number > 0 and length % number == 0:
            return feature.transpose(1, 2).unflatten(2, (number, length // number))
    raise InputError(
        f'{length} tokens are not a grid of an image of {height}x{width} pixels; tap a module that '
        'outputs maps'
    )
