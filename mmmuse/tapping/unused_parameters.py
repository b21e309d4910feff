"""Parameters that the tapped features of a network do not depend on."""

from collections.abc import Callable, Sequence

import torch
from torch import nn

from .dry_run import dry_run, random_image
from .taps import FeatureTaps


def unused_parameters(
    network: nn.Module, taps: FeatureTaps, input_shape: Sequence[int] | None = None
) -> dict[str, nn.Parameter]:
    """Return the trainable parameters, by name, that no tapped feature depends on.

    Examples are the norms of a transformer's outputs that are not read. They would get no gradient,
    which stops data-parallel training. Buffers and training flags are unchanged.

    Args:
        network: An OpenMMLab model.
        taps: Hooks on it.
        input_shape: ``(C, H, W)`` of the dry run.
    """
    named = {name: value for name, value in network.named_parameters() if value.requires_grad}

    def observe(forward: Callable[[], object], shape: tuple[int, ...]) -> Sequence:
        before = [value.grad for value in named.values()]
        with torch.enable_grad(), taps:
            forward()
            total = sum(feature.float().sum() for feature in taps.pop().values())
        for value in named.values():
            value.grad = None
        total.backward()  # Reentrant checkpointing has no other way.
        found = [value.grad for value in named.values()]
        for value, gradient in zip(named.values(), before, strict=True):
            value.grad = gradient
        return found

    if not named:
        return {}
    found = dry_run(network, observe, input_shape, make_image=random_image, mode='tensor')
    gradients = zip(named.items(), found, strict=True)
    return {name: value for (name, value), gradient in gradients if gradient is None}
