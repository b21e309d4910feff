from collections.abc import Sequence
from typing import Annotated, TypedDict

import mmengine.dist as dist
import numpy as np
import torch
import torch.nn.functional as F
from mmengine.logging import MessageHub
from mmpretrain.models.utils import ClsDataPreprocessor
from mmpretrain.structures import DataSample
from torch import Tensor
from typing_extensions import Unpack

from mmmuse.arguments import (
    Fraction,
    Length,
    ModuleCount,
    NonNegativeInt,
    PositiveFloat,
    PositiveInt,
)
from mmmuse.compat.compiling import not_compiled
from mmmuse.errors import InputError
from mmmuse.registry import MODELS


class ClsOptions(TypedDict, total=False):
    """Arguments of mmpretrain's ``ClsDataPreprocessor``, of mean and deviation one for each channel."""

    mean: Annotated[Sequence[float], Length(1)] | None
    std: Annotated[Sequence[PositiveFloat], Length(1)] | None
    pad_size_divisor: PositiveInt
    pad_value: float
    to_rgb: bool
    to_onehot: bool
    num_classes: PositiveInt | None
    batch_augments: dict | None


@MODELS.register_module()
class BatchedDataPreprocessor(ClsDataPreprocessor):
    """mmpretrain's preprocessor for batched images: crops and flips on the model's device.

    In training each image is padded with zeros, cropped back to its size at a random place and
    flipped left to right: the distribution of mmpretrain's ``RandomCrop(padding=crop_padding)`` and
    ``RandomFlip(prob=flip_prob)``. The draw for an image depends only on (seed, epoch, sample
    index), not on workers, processes or resuming. In MMEngine's iteration-based loop, which counts
    no epochs, the iteration replaces the epoch if a run has several passes over the data.

    ``num_views`` is for methods that compare views of an image; the first view is the same as
    without ``num_views``.

    Batches come from :class:`mmmuse.datasets.BatchedImages`; others are passed to
    mmpretrain's preprocessor.

    Args:
        crop_padding: Pixels of padding on each side; 0 for no crop.
        flip_prob: Probability of a flip.
        seed: Of the draws; None for the runner's.
        num_views: V, the number of augmentations of each image in training. The N images
            of a batch become V x N, view by view, with their labels repeated.
        fixed_views: V, number of different augmentations of an image: epoch e
            uses those of epoch e modulo V, so that a teacher's outputs can be
            cached (``mmmuse cache-teacher``). None for new ones in every epoch.
        resize: Height and width to which images are resized at the end (bilinearly), also
            those of mmpretrain's preprocessor; None for no resizing. That images of 32 or 64 pixels are resized for a
            network of 224 is assumed; the paper does not give it.
        **kwargs: Those of mmpretrain's ``ClsDataPreprocessor`` (mean, std, batch_augments, ...).

    Raises:
        InputError: On a negative padding, a probability outside 0 to 1, a size
            below 1, one-hot labels without ``num_classes``, several views without crop and flip or
            of data that is not batched, or fixed views without ``seed``.
    """

    def __init__(
        self,
        crop_padding: NonNegativeInt = 0,
        flip_prob: Fraction = 0.0,
        seed: int | None = None,
        num_views: ModuleCount = 1,
        fixed_views: PositiveInt | None = None,
        resize: PositiveInt | None = None,
        **kwargs: Unpack[ClsOptions],
    ) -> None:
        refuse_unequal_mean_and_std(**kwargs)
        super().__init__(**kwargs)
        if num_views > 1 and not (crop_padding or flip_prob):
            raise InputError(
                'BatchedDataPreprocessor needs crop_padding or flip_prob for views that differ, '
                f'got num_views={num_views}'
            )
        if fixed_views is not None and (seed is None or num_views > 1):
            raise InputError(
                'BatchedDataPreprocessor: fixed_views needs a seed, and goes with '
                f'num_views=1, got fixed_views={fixed_views}, seed={seed}, num_views={num_views}'
            )
        if self.to_onehot and self.num_classes is None:
            raise InputError(
                'BatchedDataPreprocessor needs num_classes for one-hot labels, also '
                'those of batch_augments'
            )
        self.crop_padding = crop_padding
        self.flip_prob = flip_prob
        self.seed = seed
        self.num_views = num_views
        self.fixed_views = fixed_views
        self.resize = resize

    def forward(self, data: dict, training: bool = False) -> dict:
        """Return ``inputs`` ``(N, C, H, W)`` float32, resized, and N ``data_samples``.

        In training with V views both have V x N. A data sample has its ``sample_idx`` and,
        with fixed views, the index ``view``.

        Args:
            data: ``inputs`` ``(N, C, H, W)`` uint8, ``gt_label`` and
                ``sample_idx`` ``(N, )``, ``num_samples``.
            training: Whether to augment.
        """
        if 'gt_label' in data:
            data = self._batched(data, training)
        elif training and self.num_views > 1:
            raise InputError(
                f'num_views={self.num_views} needs a data set of batched images, such as '
                'mmmuse.BatchedCIFAR100'
            )
        else:
            data = super().forward(data, training)
        if self.resize is not None:
            data['inputs'] = F.interpolate(data['inputs'], self.resize, mode='bilinear')
        return data

    def _batched(self, data: dict, training: bool) -> dict:
        images, labels = self.cast_data((data['inputs'], data['gt_label']))
        indices, view = data['sample_idx'].tolist(), None
        if training and self.fixed_views:
            view = self._epoch(data)
        if training and (self.crop_padding or self.flip_prob):
            images = self._augment(images, data, self._epoch(data))
            labels = labels.repeat(self.num_views)
            indices *= self.num_views
        data_samples = [
            _labelled(*pair, view) for pair in zip(labels.split(1), indices, strict=True)
        ]
        inputs = self._normalize(images)
        if self.to_onehot:
            scores = self._one_hot(labels)
            if training and self.batch_augments is not None:
                inputs, scores = self.batch_augments(inputs, scores)
            for data_sample, score in zip(data_samples, scores, strict=True):
                data_sample.set_gt_score(score)
        return dict(inputs=inputs, data_samples=data_samples)

    def _one_hot(self, labels: Tensor) -> Tensor:
        try:
            return F.one_hot(labels, self.num_classes).float()
        except RuntimeError as error:  # On a CPU: a GPU does not look at the values.
            raise InputError(
                f'data_preprocessor.num_classes is {self.num_classes}, and a label of the data is '
                f'{labels.max()}'
            ) from error

    def _normalize(self, images: Tensor) -> Tensor:
        if self._enable_normalize and self.mean.numel() not in (1, images.shape[1]):
            raise InputError(
                f'the images have {images.shape[1]} channels, and data_preprocessor.mean has '
                f'{self.mean.numel()}'
            )
        if self.to_rgb and images.shape[1] == 3:
            images = images.flip(1)
        inputs = images.to(torch.float32, copy=True)
        if self._enable_normalize:
            inputs.sub_(self.mean).div_(self.std)  # In place: less memory traffic than mmpretrain.
        if self.pad_size_divisor == 1:
            return inputs
        bottom, right = (-size % self.pad_size_divisor for size in inputs.shape[2:])
        return F.pad(inputs, (0, right, 0, bottom), value=self.pad_value)

    @not_compiled  # The epoch would be a constant in the graph.
    def _epoch(self, data: dict) -> int:
        hub = MessageHub.get_current_instance()
        epoch = _epoch(hub, len(data['sample_idx']), data['num_samples'])
        return epoch % self.fixed_views if self.fixed_views else epoch

    @not_compiled  # Hashes 64-bit integers in NumPy.
    def _augment(self, images: Tensor, data: dict, epoch: int) -> Tensor:
        hub = MessageHub.get_current_instance()
        seed = hub.get_info('seed', 0) if self.seed is None else self.seed
        indices = data['sample_idx'].cpu().numpy()
        draws = uniform_draws(seed or 0, epoch, indices, 3 * self.num_views)
        # The draws are grouped by view, so that the first view's do not depend on num_views.
        draws = draws.reshape(self.num_views, 3, -1).swapaxes(0, 1).reshape(3, -1)
        rows, columns = (draws[:2] * (2 * self.crop_padding + 1)).astype(np.int64)
        flips = draws[2] < self.flip_prob
        rows, columns, flips = (
            torch.from_numpy(draw).to(images.device, non_blocking=True)
            for draw in (rows, columns, flips)
        )
        images = images.repeat(self.num_views, 1, 1, 1)
        return crop_and_flip(images, self.crop_padding, rows, columns, flips)


def refuse_unequal_mean_and_std(
    mean: Sequence[float] | None = None, std: Sequence[float] | None = None, **_: object
) -> None:
    """Refuse a preprocessor's mean without a deviation for each of its channels, and the reverse.

    Raises:
        InputError: If only one of the two is given, or they differ in length.
    """
    sizes = [None if values is None else len(values) for values in (mean, std)]
    if sizes[0] != sizes[1]:
        raise InputError(
            'mean and std have one number for each channel of an image, got '
            f'mean={mean} and std={std}'
        )


def _epoch(hub: MessageHub, batch_size: int, num_samples: int) -> int:
    if hub.get_info('max_epochs', None) != 1:
        return hub.get_info('epoch', 0)
    # MMEngine reports max_epochs=1 for iteration-based runs as well.
    step = batch_size * dist.get_world_size()
    one_pass = hub.get_info('max_iters') * step <= num_samples + step + dist.get_world_size()
    return 0 if one_pass else hub.get_info('iter', 0)


def _labelled(label: Tensor, index: int, view: int | None) -> DataSample:
    data_sample = DataSample()
    data_sample.set_field(label, 'gt_label', dtype=Tensor)  # Faster than DataSample(gt_label=...).
    data_sample.set_field(index, 'sample_idx', field_type='metainfo')
    if view is not None:
        data_sample.set_field(view, 'view', field_type='metainfo')
    return data_sample


def crop_and_flip(
    images: Tensor, padding: int, rows: Tensor, columns: Tensor, flips: Tensor
) -> Tensor:
    """Crop each zero-padded image to its own size at its own place, and flip some.

    Args:
        images: ``(N, C, H, W)``, any type.
        padding: Pixels on each side.
        rows: First row of each crop in the padded image, ``(N, )``, 0 to 2 * padding.
        columns: First column, likewise.
        flips: Which crops to flip left to right, bool ``(N, )``.

    Returns:
        Shape ``(N, C, H, W)``.
    """
    num_images, channels, height, width = images.shape
    sides = images.new_zeros(2, num_images, channels, height + 2 * padding, width + 2 * padding)
    inside = sides[..., padding : padding + height, padding : padding + width]
    inside[0], inside[1] = images, images.flip(3)
    # All crops are views of this memory with the same strides and different offsets.
    strides = sides.stride()[2:]
    last = sum((size - 1) * stride for size, stride in zip(images.shape[1:], strides, strict=True))
    crops = sides.as_strided((sides.numel() - last, channels, height, width), (1, *strides))
    columns = torch.where(flips, 2 * padding - columns, columns)
    image = flips * num_images + torch.arange(num_images, device=images.device)
    return crops.index_select(0, image * sides.stride(1) + rows * sides.stride(3) + columns)


def uniform_draws(seed: int, epoch: int, indices: np.ndarray, num_draws: int) -> np.ndarray:
    """Return numbers in [0, 1) that depend on (seed, epoch, index, draw) only.

    Each is a chain of SplitMix64 hashes (Steele et al., "Fast Splittable
    Pseudorandom Number Generators", OOPSLA 2014) over the four.

    Args:
        seed: Any integer.
        epoch: Any integer.
        indices: Sample indices, shape ``(N, )``.
        num_draws: K.

    Returns:
        float64, shape ``(K, N)``.
    """
    state = np.zeros(1, dtype=np.uint64)
    for word in (
        np.array([seed % 2**64], dtype=np.uint64),
        np.array([epoch % 2**64], dtype=np.uint64),
        indices.astype(np.uint64),
        np.arange(num_draws, dtype=np.uint64)[:, None],
    ):
        state = _splitmix64(state ^ word)
    return (state >> np.uint64(11)) * 2.0**-53


def _splitmix64(state: np.ndarray) -> np.ndarray:
    state = state + np.uint64(0x9E3779B97F4A7C15)
    state = (state ^ (state >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    state = (state ^ (state >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return state ^ (state >> np.uint64(31))
