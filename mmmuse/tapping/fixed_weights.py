"""Weights that depend on a network's architecture only, for a while."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _NormBase

# A prime, so that no two layers, or rows of a layer, get the same values.
_DRAWN = 100_003


@contextmanager
def fixed_weights(model: nn.Module) -> Iterator[None]:
    """Give a model the same random weights whatever its own are; restore them afterwards.

    Two features that are equal then are equal for all weights. With a model's own weights they may be
    equal by chance: a layer scale of 1e-6 hides a branch, and zero biases all of a blank image.
    Autograd does not see the change.
    """
    own = [(parameter, parameter.data) for parameter in model.parameters()]
    statistics = [
        (buffer, buffer.data)
        for module in model.modules()
        if isinstance(module, _NormBase) and module.running_mean is not None
        for buffer in (module.running_mean, module.running_var)
    ]
    generator = torch.Generator().manual_seed(0)
    noise = _Noise(torch.empty(_DRAWN).uniform_(-1, 1, generator=generator))
    try:
        for name, parameter in model.named_parameters():
            if parameter.is_floating_point():
                parameter.data = _weights(name, parameter, noise)
        for i, (buffer, _) in enumerate(statistics):
            buffer.data = torch.full_like(buffer, i % 2)  # Mean 0, variance 1.
        yield
    finally:
        for tensor, value in own + statistics:
            tensor.data = value


class _Noise:
    """A fixed number of random values, repeated as often as needed. Drawing every value would take longer."""

    def __init__(self, values: Tensor) -> None:
        self._values, self._next = values, 0

    def take(self, number: int) -> Tensor:
        """Return the next values, a new tensor of them."""
        taken, left = [], number
        while left > 0 or not taken:
            part = self._values[self._next : self._next + left]
            taken.append(part)
            left -= len(part)
            self._next = (self._next + len(part)) % len(self._values)
        return torch.cat(taken)


def _weights(name: str, parameter: Tensor, noise: _Noise) -> Tensor:
    """Return weights of about the gain 1; vectors are near 1, or near 0 if they are biases."""
    values = noise.take(parameter.numel()).view(parameter.shape)
    if parameter.ndim > 1:
        values *= (3 * parameter.shape[0] / parameter.numel()) ** 0.5
    else:
        values = values / 10 + (not name.endswith('bias'))
    return values.to(parameter)
