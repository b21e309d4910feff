"""Read the pictures that ``mmmuse detections`` has written."""

from pathlib import Path

from mmmuse.datasets.image_header import MAX_PIXELS, why_no_image
from mmmuse.errors import InputError

_MOST = 24  # Pictures in a report.
_LARGEST = 16 * 2**20  # Bytes of a picture.
_START, _END = b'\x89PNG\r\n\x1a\n', b'IEND\xaeB`\x82'


def read_pictures(folder: Path) -> dict[str, bytes]:
    """Read the PNGs of a folder, the first 24 by name.

    Args:
        folder: Of ``mmmuse detections``.

    Returns:
        Their content by file name.

    Raises:
        InputError: If the folder is missing or has none, or one is not a PNG.
    """
    if not folder.is_dir():
        raise InputError(f'no folder {folder} of mmmuse detections')
    paths = sorted(folder.glob('*.png'))[:_MOST]
    if not paths:
        raise InputError(f'{folder} has no pictures of mmmuse detections (*.png)')
    return {path.name: _read(path) for path in paths}


def _read(path: Path) -> bytes:
    why = why_no_image(str(path), MAX_PIXELS)
    if why is None and path.stat().st_size > _LARGEST:
        why = f'it is larger than {_LARGEST} bytes'
    content = b'' if why else path.read_bytes()
    if why is None and not (content.startswith(_START) and content.endswith(_END)):
        why = 'not a PNG, or not all of it'
    if why is not None:
        raise InputError(f'cannot show {path}: {why}')
    return content
