"""Replace a file as a whole, so that a process that is killed leaves the old or the new content."""

import os
from pathlib import Path

from mmengine.fileio import LocalBackend, register_backend

from mmmuse.errors import InputError

SYNCED = 'mmmuse_synced'  # Name of the file backend, for MMEngine's ``backend_args``.
_UNFINISHED = '.unfinished'


def write_synced(path: str | Path, content: bytes) -> None:
    """Write a file beside its place, sync it, and rename it over the one that was there.

    Args:
        path: Of the file; missing folders are created. A device or a pipe (``/dev/stdout``) is written in place.
        content: Of the file.

    Raises:
        InputError: If it cannot be written. The file that was there is unchanged.
    """
    path = Path(path)
    unfinished = path.with_name(f'.{path.name}{_UNFINISHED}')
    try:
        if _is_written_in_place(path):
            path.write_bytes(content)
            return
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            with unfinished.open('wb') as file:
                file.write(content)
                file.flush()
                os.fsync(file.fileno())
            os.replace(unfinished, path)
        except BaseException:
            unfinished.unlink(missing_ok=True)
            raise
        sync_folder(path.parent)
    except OSError as error:
        raise InputError(
            f'cannot write {path}: {error.strerror or error}; earlier files are unchanged'
        ) from error


def _is_written_in_place(path: Path) -> bool:
    """Return whether a path is a device or a pipe. ``/dev/stdout`` may be a link to a file that a shell writes."""
    is_special = path.exists() and not path.is_file() and not path.is_dir()
    return is_special or Path('/dev') in path.absolute().parents


def remove_unfinished(folder: str | Path) -> None:
    """Remove the files that a killed process was writing into a folder."""
    for path in Path(folder).glob(f'.*{_UNFINISHED}'):
        path.unlink(missing_ok=True)


def sync_folder(folder: Path) -> None:
    """Have the names in a folder written to the disk."""
    if os.name != 'posix':  # Folders cannot be opened elsewhere.
        return
    number = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(number)
    finally:
        os.close(number)


@register_backend(SYNCED)
class SyncedLocalBackend(LocalBackend):
    """MMEngine's local files, written by :func:`write_synced`."""

    def put(self, obj: bytes, filepath: str | Path) -> None:
        """Write bytes."""
        write_synced(filepath, obj)

    def put_text(self, obj: str, filepath: str | Path, encoding: str = 'utf-8') -> None:
        """Write text."""
        write_synced(filepath, obj.encode(encoding))
