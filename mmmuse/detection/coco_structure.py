"""What the images, categories and boxes of a COCO file have to be."""

import re
from collections.abc import Container, Iterable

from .coco_errors import InvalidCocoError

# A box is kept if its numbers are finite in float32, and so are their sums.
_LARGEST = 1e38
_LARGEST_SIDE = 2**31
# An address, an absolute path (of Windows, too), or a path with the folder above.
_OUTSIDE = re.compile(r'://|^[\\/]|^[A-Za-z]:|(^|[\\/])\.\.([\\/]|$)')
_NUMBERS = {int, float}  # JSON's; not bool, which is an int for Python.


def check_structure(content: dict) -> None:
    """Check what COCO's own reader does not: ids, image sizes and file names.

    Of two entries with one id it keeps the last and logs nothing.

    Args:
        content: Of the file, with ``images``, ``annotations`` and ``categories``.

    Raises:
        InvalidCocoError: If an id or a category's name is given twice, an image has no size, or
            its file name is an address or leads out of the image folder. The message names the
            first such entry.
    """
    images, categories = content['images'], content['categories']
    _refuse_repeated('images', 'id', (image['id'] for image in images))
    _refuse_repeated('annotations', 'id', (each['id'] for each in content['annotations']))
    _refuse_repeated('categories', 'id', (category['id'] for category in categories))
    _refuse_repeated('categories', 'name', (category['name'] for category in categories))
    for image in images:
        _check_image(image)


def finite_box(annotation: dict) -> bool:
    """Return whether the numbers of a box are finite.

    Args:
        annotation: With ``bbox``, ``[x, y, width, height]``.

    Raises:
        InvalidCocoError: If it is not four numbers; the message names the annotation.
    """
    box = annotation['bbox']
    # In plain steps, as COCO has 860,000 boxes.
    if type(box) is not list or len(box) != 4 or not {*map(type, box)} <= _NUMBERS:
        raise InvalidCocoError(
            f'annotation {annotation.get("id")!r} has the bbox {_short(box)}, not '
            '[x, y, width, height]'
        )
    x, y, width, height = box
    return (
        -_LARGEST < x < _LARGEST
        and -_LARGEST < y < _LARGEST
        and -_LARGEST < width < _LARGEST
        and -_LARGEST < height < _LARGEST
    )


def is_usable(annotation: dict, images: Container, categories: Container) -> bool:
    """Return whether an annotation can be ground truth: finite, and of a known image and category.

    Args:
        annotation: Of a file, with or without ``bbox``.
        images: Ids of the file's images.
        categories: Ids of its categories.

    Raises:
        InvalidCocoError: If its box is not four numbers.
    """
    return (
        annotation['image_id'] in images
        and annotation['category_id'] in categories
        and ('bbox' not in annotation or finite_box(annotation))
    )


def _refuse_repeated(entries: str, key: str, values: Iterable[object]) -> None:
    seen = set()
    for value in values:
        if value in seen:
            raise InvalidCocoError(f'two {entries} have the {key} {_short(value)}')
        seen.add(value)


def _check_image(image: dict) -> None:
    name = image['file_name']
    for side in ('width', 'height'):
        value = image[side]
        if type(value) not in _NUMBERS or not 1 <= value < _LARGEST_SIDE:
            raise InvalidCocoError(
                f'image {image["id"]!r} ({_short(name)}) has the {side} {_short(value)}, not a '
                'number of pixels'
            )
    if not isinstance(name, str) or not name or '\0' in name:
        raise InvalidCocoError(f'image {image["id"]!r} has the file name {_short(name)}')
    if _OUTSIDE.search(name):
        raise InvalidCocoError(
            f'image {image["id"]!r} has the file name {_short(name)}; a file name is relative to the '
            "image folder, data_prefix=dict(img='...'), and inside it"
        )


def _short(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 60 else f'{text[:57]}...'
