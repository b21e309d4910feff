"""One forward on blank images, to learn what a model puts out."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import TypeVar

import torch
from torch import nn

FALLBACK_SIZES = (64, 224)
Result = TypeVar('Result')


@contextmanager
def frozen_in_eval(model: nn.Module) -> Iterator[None]:
    """Put a model into eval mode without gradients, and every module back afterwards."""
    training = {module: module.training for module in model.modules()}
    model.eval()
    try:
        with torch.no_grad():
            yield
    finally:
        for module, mode in training.items():
            module.training = mode


def blank_image_shapes(
    model: nn.Module, input_shape: Sequence[int] | None = None
) -> list[tuple[int, ...]]:
    """Return the image shapes ``(C, H, W)`` worth trying on a model, likeliest first.

    Args:
        model: Any module.
        input_shape: The shape, if it is known.

    Returns:
        ``[input_shape]`` if given; else the size a transformer declares as
        ``img_size``; else 64 and then 224 pixels. Channels are those of the
        first convolution.
    """
    if input_shape is not None:
        return [tuple(input_shape)]
    convolutions = (module for module in model.modules() if isinstance(module, nn.Conv2d))
    channels = getattr(next(convolutions, None), 'in_channels', 3)
    for module in model.modules():
        size = getattr(module, 'img_size', None)
        if size is not None:
            return [(channels, *((size, size) if isinstance(size, int) else size))]
    return [(channels, size, size) for size in FALLBACK_SIZES]


def dry_run(
    model: nn.Module,
    observe: Callable[[Callable[[], object], tuple[int, ...]], Result],
    input_shape: Sequence[int] | None = None,
    **options: object,
) -> Result:
    """Observe one forward of an OpenMMLab model on a blank image, in eval mode.

    Parameters, buffers and training flags are left as they are. Sizes that the
    model refuses are passed over while there is another to try.

    Args:
        model: The model, called as ``model(inputs, **options)``.
        observe: Called with the forward (no arguments) and the image's shape
            ``(C, H, W)``; what it returns is returned.
        input_shape: ``(C, H, W)``; None to try :func:`blank_image_shapes`.
        **options: Of the call, e.g. ``mode='tensor'`` for a whole model.
    """
    parameter = next(model.parameters())
    shapes = blank_image_shapes(model, input_shape)
    for shape in shapes:
        image = torch.zeros(1, *shape, device=parameter.device, dtype=parameter.dtype)
        try:
            with frozen_in_eval(model):
                return observe(lambda image=image: model(image, **options), shape)
        except (RuntimeError, AssertionError):
            if shape == shapes[-1]:
                raise
    raise AssertionError('unreachable: there is always a shape to try')
