"""Errors about the shape of images, in commands that have the flag ``--input-shape``."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from mmmuse.errors import ImageShapeError, InputError


@contextmanager
def naming_input_shape(given: Sequence[int] | None) -> Iterator[None]:
    """Add the flag ``--input-shape`` to an error about the shape of images.

    Args:
        given: The flag's value; None without it.

    Raises:
        InputError: In place of an ``ImageShapeError``.
    """
    try:
        yield
    except ImageShapeError as error:
        advice = 'pass --input-shape C H W' if given is None else 'pass another --input-shape'
        raise InputError(f'{error}; {advice}') from error
