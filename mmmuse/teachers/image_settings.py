"""How a library prepares the images of one of its networks."""

from collections.abc import Sequence
from dataclasses import dataclass

from mmengine.model import ImgDataPreprocessor

from mmmuse.errors import InputError
from mmmuse.tapping.loaded_order import ImageOrder

Size = tuple[int, int]

_SMOOTH = {'bilinear': 'bilinear', 'bicubic': 'bicubic', 'lanczos': 'bicubic', 'box': 'bilinear'}


@dataclass(frozen=True)
class ImageSettings:
    """What a network's own data config says of its images.

    Attributes:
        size: ``(H, W)`` of its input.
        interpolation: With which images are resized, as the library names it.
        mean: Of the channels R, G, B, in pixel values from 0 to 255.
        std: Likewise.
    """

    size: Size
    interpolation: str
    mean: tuple[float, ...]
    std: tuple[float, ...]


class LibraryPreprocessor(ImgDataPreprocessor):
    """The data preprocessor of a network of another library, which reads RGB.

    A distiller converts the student's images with it; see
    :class:`mmmuse.distillers.InputConversion`.

    Args:
        settings: Of the network's images.

    Attributes:
        reads: The order of the channels that the network reads.
        resize: ``(H, W)`` of the network's input.
        interpolation: ``'bilinear'``, ``'bicubic'`` or ``'nearest'``. PyTorch has no Lanczos filter;
            bicubic takes its place.
    """

    reads: ImageOrder = 'rgb'

    def __init__(self, settings: ImageSettings) -> None:
        super().__init__(mean=list(settings.mean), std=list(settings.std))
        self.resize = settings.size
        self.interpolation = _SMOOTH.get(settings.interpolation, 'nearest')


def image_size(size: int | Sequence[int]) -> Size:
    """Return a size, or the side of a square, as ``(H, W)``."""
    sides = (size, size) if isinstance(size, int) else tuple(size)
    if len(sides) != 2:
        raise InputError(f'input_size is a side or (height, width), got {list(sides)}')
    return sides


def check_patches(name: str, size: Size, patch: Size) -> None:
    """Refuse a size that is not a whole number of patches.

    Args:
        name: Of the network.
        size: ``(H, W)`` of its input.
        patch: Height and width of a patch.

    Raises:
        InputError: With the nearest sizes that are.
    """
    if all(side % step == 0 for side, step in zip(size, patch, strict=True)):
        return
    near = [
        tuple(max(1, side // step + more) * step for side, step in zip(size, patch, strict=True))
        for more in (0, 1)
    ]
    raise InputError(
        f'{name} cuts images into patches of {patch[0]}x{patch[1]} pixels, and its input of '
        f'{size[0]}x{size[1]} is not a whole number of them: set its input_size to '
        f'{near[0][0]}x{near[0][1]} or {near[1][0]}x{near[1][1]}'
    )
