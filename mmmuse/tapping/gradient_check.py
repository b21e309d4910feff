"""A tapped output without gradient: frozen modules, or a gradient that is cut off."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from mmmuse.compat.compiling import not_compiled
from mmmuse.errors import InputError
from mmmuse.tapping.dry_run import dry_run, random_image


@not_compiled
def refuse_cut_gradients(
    network: nn.Module, taps: Any, paths: Sequence[str], input_shape: Sequence[int] | None
) -> None:
    """Refuse tapped outputs that get no gradient although trainable parameters determine them.

    Activation checkpointing (reentrant, PyTorch's default) runs a region without gradient, so that
    losses on an output inside teach nothing. The output of frozen modules gets no gradient either,
    which is right. To tell the two apart, the network is run twice on a random image, the second
    time with other values of its trainable parameters. Neither the parameters nor the random state
    is changed.

    Args:
        network: The network, in a training step.
        taps: Its active :class:`mmmuse.tapping.taps.FeatureTaps`.
        paths: Tapped outputs that get no gradient.
        input_shape: ``(C, H, W)`` of the images; None to try some.

    Raises:
        InputError: If such an output depends on a trainable parameter; the message names it.
    """
    trainable = [parameter for parameter in network.parameters() if parameter.requires_grad]
    if not trainable:
        return

    def observe(forward: Callable[[], object], shape: tuple[int, ...]) -> list[str]:
        def outputs() -> dict[str, Tensor]:
            try:
                forward()
            except (RuntimeError, AssertionError, ValueError):
                # With other weights a detector may have no proposals for the head after the taps.
                if set(taps.reached) != set(taps.paths):
                    raise
            return taps.pop()

        before = outputs()
        with _other_values(trainable):
            after = outputs()
        return [path for path in paths if not _close(before[path], after[path])]

    # Autocast would go on with the casts of the parameters that it has cached.
    with torch.autocast(trainable[0].device.type, enabled=False):
        cut_off = dry_run(network, observe, input_shape, make_image=random_image, mode='tensor')
    if cut_off:
        names = ', '.join(map(repr, cut_off))
        raise InputError(
            f'the output of tapped module {names} gets no gradient, although parameters before it '
            'are trained: it is inside activation checkpointing (with_cp, activation_checkpointing) '
            'or after a detach. Tap the end of the checkpointed module, or switch checkpointing off '
            'there'
        )


@contextmanager
def _other_values(parameters: Sequence[nn.Parameter]) -> Iterator[None]:
    """Give parameters random values for a while; autograd does not see it."""
    generator = torch.Generator().manual_seed(0)
    own = [parameter.data for parameter in parameters]
    try:
        for parameter in parameters:
            noise = torch.randn(parameter.shape, generator=generator)
            parameter.data = parameter.data + noise.to(parameter)
        yield
    finally:
        for parameter, value in zip(parameters, own, strict=True):
            parameter.data = value


def _close(first: Tensor, second: Tensor) -> bool:
    return torch.allclose(first, second, rtol=1e-3, atol=1e-5, equal_nan=True)
