"""Errors of a file system that cannot be written: a full disk, a read-only one."""

import errno
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from mmmuse.errors import InputError

NOT_WRITTEN = {errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EFBIG, errno.EIO, errno.ESTALE}
_ONLY_WRITING = NOT_WRITTEN - {errno.EIO, errno.ESTALE}  # Reading has the other errors too.


@contextmanager
def naming_output(out: Path, place: Path | None = None) -> Iterator[None]:
    """Name an output if it cannot be written: Python's error of a full disk names no file.

    Args:
        out: Named by the user.
        place: Folder of the temporary files that become the output; ``out`` itself by default.

    Raises:
        InputError: If writing into the place fails.
    """
    try:
        yield
    except InputError as error:
        cause = error.__cause__  # Of write_synced().
        if place is None or not isinstance(cause, OSError) or str(place) not in str(error):
            raise
        raise InputError(f'cannot write {out}: {cause.strerror}') from error
    except OSError as error:
        if error.filename is None:
            of_output = error.errno in _ONLY_WRITING
        else:
            of_output = Path(str(error.filename)).is_relative_to(place or out)
        if not of_output:
            raise
        raise InputError(f'cannot write {out}: {error.strerror}') from error
