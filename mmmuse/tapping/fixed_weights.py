"""Weights that depend on a network's architecture only, for a while."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _NormBase


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
    try:
        for name, parameter in model.named_parameters():
            if parameter.is_floating_point():
                parameter.data = _weights(name, parameter, generator)
        for i, (buffer, _) in enumerate(statistics):
            buffer.data = torch.full_like(buffer, i % 2)  # Mean 0, variance 1.
        yield
    finally:
        for tensor, value in own + statistics:
            tensor.data = value


def _weights(name: str, parameter: Tensor, generator: torch.Generator) -> Tensor:
    """Return weights of about the gain 1; vectors are near 1, or near 0 if they are biases."""
    noise = torch.empty(parameter.shape).uniform_(-1, 1, generator=generator)
    if parameter.ndim > 1:
        noise *= (3 * parameter.shape[0] / parameter.numel()) ** 0.5
    else:
        noise = noise / 10 + (not name.endswith('bias'))
    return noise.to(parameter)
