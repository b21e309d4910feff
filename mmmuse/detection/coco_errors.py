"""One line for what a COCO annotation file makes its readers raise."""

from collections.abc import Iterator
from contextlib import contextmanager

from mmmuse.checkpoints.regular_file import NOT_FOUND, why_no_file
from mmmuse.errors import InputError


@contextmanager
def explained_coco_file(path: str) -> Iterator[None]:
    """Name an annotation file in the errors of its reader.

    Args:
        path: Of the file, or an address.

    Raises:
        InputError: If it is missing or not a regular file, or the reader finds it invalid.
    """
    why = None if '://' in str(path) else why_no_file(path)
    if why not in (None, NOT_FOUND):
        raise InputError(f'cannot read annotation file {path}: {why}')
    try:
        yield
    except InputError:
        raise
    except FileNotFoundError as error:
        raise InputError(f'annotation file not found: {path}') from error
    except OSError as error:
        raise InputError(
            f'cannot read annotation file {path}: {error.strerror or error}'
        ) from error
    except RecursionError as error:
        raise invalid_coco(path, 'it is nested too deeply') from error
    except (ValueError, AssertionError, LookupError, TypeError, OverflowError) as error:
        own = str(error) if isinstance(error, InvalidCocoError) else None
        raise invalid_coco(path, own or f'{type(error).__name__}: {error}') from error


class InvalidCocoError(ValueError):
    """The content is not that of a COCO file; the message says what, without the file."""


def invalid_coco(path: str, why: str) -> InputError:
    """Return the error of a file with other content."""
    return InputError(f'{path} is not a valid COCO annotation file: {why}')
