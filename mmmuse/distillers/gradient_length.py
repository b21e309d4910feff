from collections.abc import Sequence

import torch
from torch import Tensor

from mmmuse.functional.precision import at_least_float32

# The first is that with which a GradScaler starts; a smaller one where a gradient overflows.
_SCALES = (2.0**16, 2.0**8, 1.0)


def gradient_square(loss: Tensor, inputs: Sequence[Tensor]) -> Tensor | None:
    """Return the squared length of a loss's gradient, as exact in float16 as the training's own.

    The gradient is that of the loss times a power of two, by which its length is divided: small
    gradients would be rounded in float16.

    Args:
        loss: A scalar. Its graph is kept.
        inputs: Tensors of which the gradient is taken.

    Returns:
        A scalar in float64, not finite if the gradient overflows; None where the loss depends on no input.

    Raises:
        RuntimeError: If gradients cannot be taken within the step.
    """
    for scale in _SCALES:
        gradients = torch.autograd.grad(loss * scale, inputs, retain_graph=True, allow_unused=True)
        squares = [
            at_least_float32(gradient).div(scale).square().sum().double()
            for gradient in gradients
            if gradient is not None
        ]
        if not squares:
            return None
        total = torch.stack(squares).sum()
        if total.isfinite():
            break
    return total
