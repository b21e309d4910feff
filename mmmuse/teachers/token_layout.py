"""A network's last output as a map and as tokens, whatever layout its library gives it."""

from collections.abc import Iterable

from torch import Tensor

from mmmuse.errors import InputError
from mmmuse.tapping.feature_grid import Grid, possible_grids, token_grid


def grid_of_patches(
    size: Grid, patch: Grid, length: int, merged: bool = True
) -> tuple[Grid, int] | None:
    """Return the grid of tokens, and how many tokens come before it; None if no grid fits.

    The grid is that of the patches, or of patches that were merged two by two, as in Swin.

    Args:
        size: ``(H, W)`` of the network's input.
        patch: Height and width of a patch.
        length: Number of tokens.
        merged: Whether patches may have been merged.

    Example:
        >>> grid_of_patches((224, 224), (16, 16), 197), grid_of_patches((224, 224), (4, 4), 49)
        (((14, 14), 1), ((7, 7), 0))
    """
    patches = tuple(-(-side // step) for side, step in zip(size, patch, strict=True))
    grid = token_grid((length, 1), possible_grids([patches]) if merged else [patches])
    return None if grid is None else (grid, length - grid[0] * grid[1])


def token_map(tokens: Tensor, grid: Grid, num_prefix_tokens: int) -> Tensor:
    """Return tokens ``(N, L, C)`` as a map ``(N, C, h, w)``, without those before the grid.

    Raises:
        InputError: If the others are not the grid.
    """
    length = tokens.shape[1] - num_prefix_tokens
    if length != grid[0] * grid[1]:
        raise InputError(
            f'{length} patch tokens are not a grid of {grid[0]}x{grid[1]}: set input_size to that of '
            'the network'
        )
    return tokens[:, num_prefix_tokens:].transpose(1, 2).unflatten(2, grid)


def map_tokens(features: Tensor) -> Tensor:
    """Return a map ``(N, C, h, w)`` as tokens ``(N, h w, C)``, row by row."""
    return features.flatten(2).transpose(1, 2)


def pair(value: int | Iterable[int]) -> Grid:
    """Return a side, or two, as two sides."""
    sides = (value, value) if isinstance(value, int) else tuple(value)
    return (sides[0], sides[-1])
