"""Whether two networks read the colour channels of an image in the same order."""

from typing import Literal

from mmengine.model import BaseDataPreprocessor
from mmpretrain.models.utils import ClsDataPreprocessor
from torch import nn

from mmmuse.errors import InputError
from mmmuse.tapping.loaded_order import ImageOrder

ChannelOrder = Literal['same', 'reversed']

# Attributes that say whether a preprocessor swaps red and blue: MMEngine's and mmdet's, mmseg's,
# mmpretrain's.
_SWAPS = ('_channel_conversion', 'channel_conversion', 'to_rgb')


def changes_nothing(preprocessor: nn.Module) -> bool:
    """Return whether it is the preprocessor of a model that was built without one.

    That is MMEngine's ``BaseDataPreprocessor``, or mmpretrain's with its defaults.
    """
    if getattr(preprocessor, '_enable_normalize', False):
        return False
    defaults = isinstance(preprocessor, ClsDataPreprocessor) and not preprocessor.to_rgb
    return defaults or type(preprocessor) is BaseDataPreprocessor


def relative_order(
    source: nn.Module,
    target: nn.Module,
    loaded: ImageOrder | None = None,
    target_loaded: ImageOrder | None = None,
    option: str = 'channel_order',
) -> ChannelOrder:
    """Return whether a network reads the channels of another one's images in the same order.

    What a network reads is what its pipeline loads, red and blue swapped if its preprocessor does
    so (``bgr_to_rgb``, ``to_rgb``). Where the two pipelines are not both known, they are taken to
    load the same order, unless the means of the preprocessors contradict it: those of photographs
    fall from red to blue.

    Args:
        source: Data preprocessor that the images have gone through.
        target: Data preprocessor of the other network. If it was built without one, it reads the
            images as they are. If it has ``reads``, the order that its network reads, as those of
            other libraries have, only the order of the images is derived.
        loaded: Order that the images are loaded in; None if it is not known.
        target_loaded: Order that those of the other network's own training were loaded in.
        option: Name of the option that gives the order, for messages.

    Raises:
        InputError: If the order cannot be known.
    """
    if changes_nothing(target):
        return 'same'
    reads = getattr(target, 'reads', None)
    if reads is not None and _is_grey(source):
        return 'same'
    if reads is not None:
        return _name(_order_after(source, loaded, option) != reads)
    swaps, other_swaps = _swaps(source, option), _swaps(target, option)
    if loaded is not None and target_loaded is not None:
        return _name((loaded != target_loaded) != (swaps != other_swaps))
    reverse = swaps != other_swaps
    orders = (_order_of_mean(source), _order_of_mean(target))
    contradicted = None not in orders and (orders[0] != orders[1]) != reverse
    # Arrays in memory are RGB, and most networks that swap were trained on files, which are BGR.
    unlikely = None in orders and reverse and 'rgb' in (loaded, target_loaded)
    if contradicted or unlikely:
        raise InputError(
            f'whether the two networks read RGB or BGR cannot be known: '
            f'{_described(source, swaps)}; {_described(target, other_swaps)}; and the data that '
            f"one of them was trained on are not given. Set {option}='same' or 'reversed', or give "
            'the whole config of the network'
        )
    return _name(reverse)


def _is_grey(preprocessor: nn.Module) -> bool:
    """Return whether images have one channel: as many as the mean has."""
    return getattr(preprocessor, '_enable_normalize', False) and preprocessor.mean.numel() == 1


def _order_after(source: nn.Module, loaded: ImageOrder | None, option: str) -> ImageOrder:
    """Return the order of images that have gone through a preprocessor.

    Raises:
        InputError: If it is not known what is loaded, and the mean says nothing.
    """
    if loaded is not None:
        return loaded if not _swaps(source, option) else 'rgb' if loaded == 'bgr' else 'bgr'
    order = _order_of_mean(source)
    if order is None:
        raise InputError(
            f'whether the images are RGB or BGR cannot be known: the data are not given, and a '
            f'{type(source).__name__} has no mean that tells it; set image_order, the order of the loaded '
            f"images, to 'rgb' or 'bgr', or {option} to 'same' or 'reversed'"
        )
    return order


def _swaps(preprocessor: nn.Module, option: str) -> bool:
    for name in _SWAPS:
        if hasattr(preprocessor, name):
            return bool(getattr(preprocessor, name))
    if type(preprocessor) is BaseDataPreprocessor:
        return False
    raise InputError(
        f'whether {type(preprocessor).__name__} gives its network RGB or BGR is not known: set '
        f"{option}='same' or 'reversed'"
    )


def _order_of_mean(preprocessor: nn.Module) -> ImageOrder | None:
    """Return the order that the mean of photographs has; None if it says nothing."""
    if not getattr(preprocessor, '_enable_normalize', False) or preprocessor.mean.numel() != 3:
        return None
    first, second, third = preprocessor.mean.flatten().tolist()
    if first > second > third:
        return 'rgb'
    return 'bgr' if first < second < third else None


def _described(preprocessor: nn.Module, swaps: bool) -> str:
    mean = 'no mean'
    if getattr(preprocessor, '_enable_normalize', False):
        mean = f'mean {[round(value, 1) for value in preprocessor.mean.flatten().tolist()]}'
    does = 'swaps red and blue' if swaps else 'does not swap red and blue'
    return f'a {type(preprocessor).__name__} ({mean}) {does}'


def _name(reverse: bool) -> ChannelOrder:
    return 'reversed' if reverse else 'same'
