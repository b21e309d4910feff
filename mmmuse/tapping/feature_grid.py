"""The grid of locations that a module's output has, told from the image's shape."""

from collections.abc import Collection, Iterable

Grid = tuple[int, int]

# Class, distillation and register tokens before the grid.
_MOST_PREFIX_TOKENS = 8


def map_grid(shape: Collection[int], image: Grid) -> Grid | None:
    """Return the grid of a map ``(C, H, W)``; None if it does not have the image's aspect ratio.

    A map with its channels last, ``(H, W, C)``, does not have it.

    Args:
        shape: Of the output, without the batch.
        image: ``(H, W)`` of the image.
    """
    _, height, width = shape
    # Rounded strides change the ratio of a square image never, and of another one a little.
    tolerance = 0 if image[0] == image[1] else 2 * max(image)
    same_ratio = abs(width * image[0] - height * image[1]) <= tolerance
    return (height, width) if same_ratio and height <= image[0] else None


def token_grid(shape: Collection[int], grids: Iterable[Grid]) -> Grid | None:
    """Return the grid of tokens ``(L, C)``; None if L is not a grid with a few prefix tokens.

    Channels-first tokens ``(C, L)`` are none: C is hardly ever a grid that the network has.

    Args:
        shape: Of the output, without the batch.
        grids: Those that tokens can have; see :func:`possible_grids`.

    Example:
        >>> grids = possible_grids([(224, 224)])
        >>> token_grid((197, 768), grids), token_grid((768, 196), grids)
        ((14, 14), None)
    """
    length = shape[0]
    fitting = [at for at in grids if 0 <= length - at[0] * at[1] <= _MOST_PREFIX_TOKENS]
    return max(fitting, key=lambda at: at[0] * at[1], default=None)


def possible_grids(known: Iterable[Grid]) -> set[Grid]:
    """Return grids and their halves, rounded down and up, as often as there are any.

    Args:
        known: ``(H, W)`` of the image and of the maps in the network.
    """
    found: set[Grid] = set()
    new = set(known)
    while new:
        found |= new
        new = {half for height, width in new for half in _halves(height, width)} - found
    return found


def _halves(height: int, width: int) -> tuple[Grid, Grid]:
    return (max(height // 2, 1), max(width // 2, 1)), (-(-height // 2), -(-width // 2))
