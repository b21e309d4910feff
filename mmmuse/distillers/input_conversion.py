import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mmmuse.arguments import PositiveInt, with_checked_arguments
from mmmuse.errors import InputError
from mmmuse.functional.precision import at_least_float32
from mmmuse.tapping.loaded_order import ImageOrder

from .channel_order import ChannelOrder, changes_nothing, relative_order


@with_checked_arguments
class InputConversion(nn.Module):
    r"""Convert images that are normalised for one network to the input of another one.

    .. math::
        x' = \frac{(\sigma x + \mu) - \mu'}{\sigma'}

    with the mean and deviation of both data preprocessors, then bilinear resizing, or with the
    interpolation that the other network's library names, smoothed where it makes images smaller. Red and blue are
    swapped if only one of the networks reads RGB; see
    :func:`mmmuse.distillers.channel_order.relative_order`. Images are unchanged if the two agree, or if
    the other network was built without a data preprocessor. A grey image has three equal channels for a network
    whose mean has three. Padding that was added after the
    normalisation is converted like any other pixel.

    Args:
        source: Data preprocessor that the images have gone through.
        target: Data preprocessor of the other network.
        input_size: Height and width of its input; by default ``resize`` of its
            ``mmmuse.BatchedDataPreprocessor``, or the ``(H, W)`` of a network of another library, else
            those of the batch.
        channel_order: ``'reversed'`` where one network reads RGB and the other BGR; by default
            derived from both preprocessors and from what is loaded.
        loaded: Order of the channels that the pipeline loads, if it is known.
        target_loaded: Order that the other network's own pipeline loads, if it is known.
        option: Name of the option ``channel_order``, for messages.

    Raises:
        InputError: If the order cannot be known, on a size below 1, or different numbers of
            channels.
    """

    def __init__(
        self,
        source: nn.Module,
        target: nn.Module,
        input_size: PositiveInt | None = None,
        channel_order: ChannelOrder | None = None,
        loaded: ImageOrder | None = None,
        target_loaded: ImageOrder | None = None,
        option: str = 'channel_order',
    ) -> None:
        super().__init__()
        if channel_order is None:
            channel_order = relative_order(source, target, loaded, target_loaded, option)
        if input_size is None:
            input_size = getattr(target, 'resize', None)
        self.input_size = input_size
        self.interpolation = getattr(target, 'interpolation', 'bilinear')
        self.smooth = hasattr(target, 'interpolation') and self.interpolation != 'nearest'
        self.reverse = channel_order == 'reversed'
        mean, std = _normalisation(source)
        as_they_are = changes_nothing(target)
        other_mean, other_std = (mean, std) if as_they_are else _normalisation(target)
        if {mean.numel(), other_mean.numel()} not in ({1}, {3}, {1, 3}):
            raise InputError(
                f'images of {mean.numel()} channels cannot be normalised for a network of '
                f'{other_mean.numel()}'
            )
        if self.reverse:
            mean, std = mean.flip(0), std.flip(0)
            if as_they_are:
                other_mean, other_std = mean, std
        self.channels = other_mean.numel()
        scale, shift = std / other_std, (mean - other_mean) / other_std
        self.same = torch.allclose(scale, torch.ones(())) and torch.allclose(shift, torch.zeros(()))
        self.register_buffer('scale', scale, persistent=False)
        self.register_buffer('shift', shift, persistent=False)

    def forward(self, inputs: Tensor) -> Tensor:
        """Return ``(N, C, h, w)`` for the other network, from ``(N, C, H, W)``."""
        if inputs.shape[1] == 1 and self.channels == 3:
            inputs = inputs.expand(-1, 3, -1, -1)
        if self.reverse:
            inputs = inputs.flip(1)
        if not self.same:
            inputs = inputs * self.scale.to(inputs) + self.shift.to(inputs)
        size = self.input_size
        size = (size, size) if isinstance(size, int) else size
        if size is not None and inputs.shape[2:] != tuple(size):
            # On a CPU there is no smoothing of images in half precision.
            resized = F.interpolate(
                at_least_float32(inputs),
                tuple(size),
                mode=self.interpolation,
                antialias=self.smooth,
            )
            inputs = resized.to(inputs.dtype)
        return inputs


def _normalisation(preprocessor: nn.Module) -> tuple[Tensor, Tensor]:
    """Return mean and deviation, ``(C, 1, 1)``."""
    if getattr(preprocessor, '_enable_normalize', False):
        return preprocessor.mean.detach().cpu(), preprocessor.std.detach().cpu()
    return torch.zeros(1, 1, 1), torch.ones(1, 1, 1)
