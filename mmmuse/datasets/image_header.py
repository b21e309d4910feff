"""Look at an image file before it is decoded."""

import os
from pathlib import Path

from PIL import Image

from mmmuse.checkpoints.regular_file import why_no_file

MAX_PIXELS = 100_000_000
_BYTES_PER_PIXEL = 16  # Four channels of float32, uncompressed.
_REMEDY = 'set max_pixels of LoadCheckedImage'


def why_no_image(path: str | Path, max_pixels: int = MAX_PIXELS) -> str | None:
    """Return why a local file should not be decoded, by its header; None if it may be.

    Args:
        path: Of the file.
        max_pixels: Largest accepted height times width.
    """
    why = why_no_file(path)
    if why is not None:
        return why
    size = os.path.getsize(path)
    if size > _BYTES_PER_PIXEL * max_pixels:
        return f'{size} bytes are too many for {max_pixels} pixels, the limit: {_REMEDY}'
    own, Image.MAX_IMAGE_PIXELS = Image.MAX_IMAGE_PIXELS, None  # The limit here is the config's.
    try:
        with Image.open(path) as image:
            width, height = image.size
    except PermissionError as error:
        return error.strerror
    except (OSError, ValueError, SyntaxError, EOFError):
        return 'not an image'
    finally:
        Image.MAX_IMAGE_PIXELS = own
    if width * height > max_pixels:
        return f'it has {width}x{height} pixels, and the limit is {max_pixels}: {_REMEDY}'
    return None
