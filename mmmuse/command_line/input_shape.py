"""Errors about the shape of images, in commands that have the flag ``--input-shape``."""

from collections.abc import Iterator
from contextlib import contextmanager

from mmmuse.errors import ImageShapeError, InputError


@contextmanager
def naming_input_shape() -> Iterator[None]:
    """Add the flag ``--input-shape`` to an error about the shape of images.

    Raises:
        InputError: In place of an ``ImageShapeError``.
    """
    try:
        yield
    except ImageShapeError as error:
        raise InputError(f'{error}; pass --input-shape C H W') from error
