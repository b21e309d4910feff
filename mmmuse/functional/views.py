from math import isqrt

import torch.nn.functional as F
from torch import Tensor

from mmmuse.errors import InputError

# A class token and four registers (DINOv2). What is left of more tokens is no square grid.
MOST_PREFIX_TOKENS = 5


def local_view(feature: Tensor) -> Tensor:
    """Return a feature as local vectors, one per location.

    Args:
        feature: A map ``(N, C, H, W)``, tokens ``(N, L, C)`` or a vector ``(N, C)``.

    Returns:
        Shape ``(N, L, C)`` with ``L = H * W`` for a map and 1 for a vector; no copy.

    Raises:
        InputError: If the feature has another number of dimensions.

    Source: MUSE, section 3.2, "practical multi-view formulations".

    Example:
        >>> import torch
        >>> local_view(torch.zeros(2, 8, 4, 4)).shape
        torch.Size([2, 16, 8])
    """
    if feature.ndim == 4:
        return feature.flatten(2).transpose(1, 2)
    if feature.ndim == 3:
        return feature
    if feature.ndim == 2:
        return feature.unsqueeze(1)
    raise InputError(
        'a feature is a map (N, C, H, W), tokens (N, L, C) or a vector (N, C), got '
        f'shape {tuple(feature.shape)}'
    )


def global_view(feature: Tensor) -> Tensor:
    """Return a feature as one vector per image: its mean over all locations.

    Args:
        feature: A map ``(N, C, H, W)``, tokens ``(N, L, C)`` or a vector ``(N, C)``.

    Returns:
        Shape ``(N, C)``.

    Raises:
        InputError: If the feature has another number of dimensions.

    Source: MUSE, section 3.2. That a map is summarised by global average
    pooling is assumed; the paper does not give this.

    Example:
        >>> import torch
        >>> global_view(torch.tensor([[[[1.0, 2.0], [3.0, 6.0]]]]))
        tensor([[3.]])
    """
    if feature.ndim == 4:
        return feature.mean((2, 3))
    return local_view(feature).mean(1)


def map_view(feature: Tensor) -> Tensor:
    """Return a feature as a map.

    Args:
        feature: A map ``(N, C, H, W)``, or tokens ``(N, L, C)``: a square grid
            after at most 5 prefix tokens (class, distillation, registers), which are dropped.

    Returns:
        Shape ``(N, C, H, W)``.

    Raises:
        InputError: If it is a vector, which has no locations, or the tokens are not a square grid: those of
            an image that is not square.

    Example:
        >>> import torch
        >>> map_view(torch.zeros(2, 17, 8)).shape
        torch.Size([2, 8, 4, 4])
    """
    if feature.ndim == 4:
        return feature
    if feature.ndim != 3:
        raise InputError(
            f'a map (N, C, H, W) or tokens (N, L, C) are needed, got shape {tuple(feature.shape)}'
        )
    side = isqrt(feature.shape[1])
    num_prefix_tokens = feature.shape[1] - side**2
    if num_prefix_tokens > MOST_PREFIX_TOKENS:
        raise InputError(
            f'{feature.shape[1]} tokens are not a square grid after at most {MOST_PREFIX_TOKENS} prefix '
            'tokens: train on square images, or tap a module that outputs maps'
        )
    return feature[:, num_prefix_tokens:].transpose(1, 2).unflatten(2, (side, side))


def same_grid(first: Tensor, second: Tensor) -> tuple[Tensor, Tensor]:
    """Return two features as maps of one grid, the larger average-pooled to the smaller.

    Args:
        first: A map ``(N, C, H, W)`` or tokens.
        second: Likewise; the number of channels may differ.

    Returns:
        Two maps ``(N, C, h, w)``, h and w the smaller of each.

    Raises:
        InputError: If either is a vector.

    Example:
        >>> import torch
        >>> large, small = same_grid(torch.ones(1, 2, 8, 8), torch.ones(1, 3, 4, 2))
        >>> large.shape, small.shape
        (torch.Size([1, 2, 4, 2]), torch.Size([1, 3, 4, 2]))
    """
    first, second = map_view(first), map_view(second)
    grid = tuple(min(sizes) for sizes in zip(first.shape[2:], second.shape[2:], strict=True))
    return tuple(
        feature if feature.shape[2:] == grid else F.adaptive_avg_pool2d(feature, grid)
        for feature in (first, second)
    )
