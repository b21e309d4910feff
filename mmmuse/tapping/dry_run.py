"""One forward on a blank image, to find the shapes of a model's outputs."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, TypeVar

import torch
from torch import Tensor, nn

FALLBACK_SIZES = (64, 224)
Result = TypeVar('Result')


@contextmanager
def frozen_in_eval(model: nn.Module) -> Iterator[None]:
    """Set a model to eval mode without gradients; restore the mode of every module afterwards."""
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
    """Return image shapes ``(C, H, W)`` to try on a model, in order.

    Args:
        model: Any module.
        input_shape: The shape, if it is known.

    Returns:
        ``[input_shape]`` if given; otherwise the ``img_size`` of a transformer, or 64 and then 224
        pixels. Channels are those of the
        first convolution, or 3, as a stem may rearrange the image before it.
    """
    if input_shape is not None:
        return [tuple(input_shape)]
    convolutions = (module for module in model.modules() if isinstance(module, nn.Conv2d))
    likeliest = getattr(next(convolutions, None), 'in_channels', 3)
    sizes = [(size, size) for size in FALLBACK_SIZES]
    for module in model.modules():
        size = getattr(module, 'img_size', None)
        if size is not None:
            sizes = [(size, size) if isinstance(size, int) else tuple(size)]
            break
    return [(channels, *size) for channels in dict.fromkeys((likeliest, 3)) for size in sizes]


def is_detector(model: nn.Module) -> bool:
    """Return whether a model is one of mmdet's detectors, without importing mmdet."""
    return any(kind.__module__.startswith('mmdet.models.detectors') for kind in type(model).__mro__)


def blank_samples(model: nn.Module, shape: Sequence[int]) -> list | None:
    """Return the data sample of a blank image, for a model whose forward may need one.

    Args:
        model: Any module.
        shape: ``(C, H, W)`` of the image.

    Returns:
        One ``DetDataSample`` without objects for a detector of mmdet; None for any other model.
    """
    if not is_detector(model):
        return None
    from mmdet.structures import DetDataSample
    from mmengine.structures import InstanceData

    size = tuple(shape[1:])
    sample = DetDataSample(
        metainfo=dict(
            img_shape=size,
            ori_shape=size,
            pad_shape=size,
            batch_input_shape=size,
            scale_factor=(1.0, 1.0),
        )
    )
    nothing = torch.zeros(0, dtype=torch.long)
    sample.gt_instances = InstanceData(bboxes=torch.zeros(0, 4), labels=nothing)
    sample.ignored_instances = InstanceData(bboxes=torch.zeros(0, 4), labels=nothing)
    return [sample]


def dry_run(
    model: nn.Module,
    observe: Callable[[Callable[[], object], tuple[int, ...]], Result],
    input_shape: Sequence[int] | None = None,
    make_image: Callable[..., Tensor] = torch.zeros,
    **options: Any,
) -> Result:
    """Observe one forward of an OpenMMLab model on one image, in eval mode.

    Parameters, buffers and training flags are unchanged. If the model raises an error for a shape,
    the next one is tried.

    Args:
        model: The model, called as ``model(inputs, **options)``; a detector of mmdet
            also receives data samples.
        observe: Called with the forward (no arguments) and the image's shape
            ``(C, H, W)``; its result is returned.
        input_shape: ``(C, H, W)``; None to try :func:`blank_image_shapes`.
        make_image: Returns the image of a given shape, device and dtype; a blank one by default.
        **options: Of the call, e.g. ``mode='tensor'`` for a classifier.
    """
    parameter = next(model.parameters())
    shapes = blank_image_shapes(model, input_shape)
    for shape in shapes:
        image = make_image(1, *shape, device=parameter.device, dtype=parameter.dtype)
        samples = blank_samples(model, shape)
        inputs = (image,) if samples is None else (image, samples)
        try:
            with frozen_in_eval(model):
                return observe(lambda inputs=inputs: model(*inputs, **options), shape)
        except (RuntimeError, AssertionError):
            if shape == shapes[-1]:
                raise
    raise AssertionError('unreachable: there is always a shape to try')
