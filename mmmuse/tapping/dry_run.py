"""One forward on a blank image, to find the shapes of a model's outputs."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, TypeVar

import torch
from torch import Tensor, nn

from mmmuse.errors import InputError, first_line
from mmmuse.tapping.image_size import declared_size

FALLBACK_SIZES = (64, 224, 512)
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
        ``[input_shape]`` if given. Otherwise images of the size that the model declares; see
        :func:`mmmuse.tapping.image_size.declared_size`. If it declares none: 64, 224 and 512 pixels.
        Channels are those of :func:`image_channels`.
    """
    if input_shape is not None:
        return [tuple(input_shape)]
    size = declared_size(model)
    sizes = [(size, size) for size in FALLBACK_SIZES] if size is None else [size]
    return [(channels, *size) for channels in image_channels(model) for size in sizes]


def image_channels(model: nn.Module) -> list[int]:
    """Return the likeliest numbers of channels of a model's images, in order.

    They are those of the mean that its preprocessor subtracts. Without one: those of the first
    convolution, or 3, as a stem may rearrange the image before it.
    """
    mean = getattr(getattr(model, 'data_preprocessor', None), 'mean', None)
    if mean is not None:
        return [mean.numel()]
    convolutions = (module for module in model.modules() if isinstance(module, nn.Conv2d))
    likeliest = getattr(next(convolutions, None), 'in_channels', 3)
    return list(dict.fromkeys((likeliest, 3)))


def random_image(*shape: int, **options: Any) -> Tensor:
    """Return the same random image at every call.

    On a blank one, weights without a bias would change nothing.
    """
    return torch.randn(shape, generator=torch.Generator().manual_seed(0)).to(**options)


def is_detector(model: object) -> bool:
    """Return whether a model is one of mmdet's detectors, without importing mmdet."""
    return any(kind.__module__.startswith('mmdet.models.detectors') for kind in type(model).__mro__)


def is_segmenter(model: nn.Module) -> bool:
    """Return whether a model is one of mmseg's segmenters, without importing mmseg."""
    return any(
        kind.__module__.startswith('mmseg.models.segmentors') for kind in type(model).__mro__
    )


def network_kind(model: nn.Module) -> str:
    """Return ``'detector'`` or ``'segmenter'`` for a model of mmdet or mmseg, else ``'classifier'``."""
    if is_segmenter(model):
        return 'segmenter'
    return 'detector' if is_detector(model) else 'classifier'


def blank_samples(model: nn.Module, shape: Sequence[int]) -> list | None:
    """Return the data samples of blank images, for a model whose forward may need them.

    Args:
        model: Any module.
        shape: ``(N, C, H, W)`` of the images.

    Returns:
        For a detector of mmdet N ``DetDataSample`` without objects and with the image as their only
        proposal, which a Fast R-CNN reads; None for any other model.
    """
    if not is_detector(model):
        return None
    return [_blank_sample(tuple(shape[2:])) for _ in range(shape[0])]


def _blank_sample(size: tuple[int, int]) -> Any:
    from mmdet.structures import DetDataSample
    from mmengine.structures import InstanceData

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
    sample.proposals = InstanceData(
        bboxes=torch.tensor([[0.0, 0.0, size[1], size[0]]]), scores=torch.ones(1)
    )
    return sample


@contextmanager
def blank_samples_added(*models: object) -> Iterator[None]:
    """Let detectors of mmdet be called with images alone; they also receive :func:`blank_samples`."""

    def add(module: nn.Module, inputs: tuple) -> tuple:
        return inputs if len(inputs) > 1 else (*inputs, blank_samples(module, inputs[0].shape))

    handles = [model.register_forward_pre_hook(add) for model in models if is_detector(model)]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


def dry_run(
    model: nn.Module,
    observe: Callable[[Callable[[], object], tuple[int, ...]], Result],
    input_shape: Sequence[int] | None = None,
    make_image: Callable[..., Tensor] = torch.zeros,
    of: nn.Module | None = None,
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
        of: The network that ``model`` is a part of, if it is one. It gives the image's shape.
        **options: Of the call, e.g. ``mode='tensor'`` for a classifier.

    Raises:
        InputError: If the model fails on each shape, or does not run in such a mode.
    """
    network = model if of is None else of
    parameter = next(model.parameters())
    shapes = blank_image_shapes(network, input_shape)
    for shape in shapes:
        image = make_image(1, *shape, device=parameter.device, dtype=parameter.dtype)
        samples = blank_samples(model, image.shape)
        inputs = (image,) if samples is None else (image, samples)
        try:
            with frozen_in_eval(model):
                return observe(lambda inputs=inputs: model(*inputs, **options), shape)
        except InputError:
            raise
        # A TypeError: the head needs data samples, say.
        except (NotImplementedError, TypeError) as error:
            raise InputError(
                f'{type(network).__name__} does not run on a batch of images alone, as the taps '
                f'need it: {first_line(error)}'
            ) from error
        except (RuntimeError, AssertionError, ValueError, IndexError) as error:
            if shape == shapes[-1]:
                raise InputError(_failure(network, shapes, error)) from error
    raise AssertionError('unreachable: there is always a shape to try')


def _failure(model: nn.Module, shapes: Sequence[tuple[int, ...]], error: Exception) -> str:
    tried = ', '.join('x'.join(map(str, shape)) for shape in shapes)
    return (
        f'{type(model).__name__} does not run on an image of {tried} ({type(error).__name__}: '
        f'{first_line(error)}); set input_shape to the (C, H, W) of its images'
    )
