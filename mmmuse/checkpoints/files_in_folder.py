import os
from collections.abc import Iterator
from pathlib import Path


def files_in_folder(folder: str | Path, suffix: str = '') -> Iterator[str]:
    """Yield the paths of the files in a folder and its sub-folders, linked ones included.

    ``Path.rglob`` does not enter linked folders, and the data sets of OpenMMLab do. A link to a
    folder that it is in is not followed. Hidden files are left out, as MMEngine does.

    Args:
        folder: Where to look.
        suffix: End of the names.
    """
    yield from _files(str(Path(folder)), suffix, ())


def _files(folder: str, suffix: str, above: tuple[str, ...]) -> Iterator[str]:
    real = os.path.realpath(folder)
    if real in above:
        return
    with os.scandir(folder) as found:
        entries = sorted(found, key=lambda entry: entry.name)
    for entry in entries:
        if entry.is_dir():
            yield from _files(entry.path, suffix, (*above, real))
        elif entry.name.endswith(suffix) and not entry.name.startswith('.') and entry.is_file():
            yield entry.path
