from collections.abc import Sequence

import torch
from torch import Tensor

from mmmuse.functional.precision import at_least_float32

# Smaller than what a GradScaler begins with, so that a gradient that the training can have does not overflow. A
# second pass with another factor would have to be taken in every process: SyncBN's backward pass waits for all.
_SCALE = 2.0**10


def gradient_square(loss: Tensor, inputs: Sequence[Tensor]) -> Tensor | None:
    """Return the squared length of a loss's gradient.

    In float16 small gradients are rounded. So the loss is multiplied by a power of two, and the length is divided
    by it.

    Args:
        loss: A scalar. Its graph is kept.
        inputs: Tensors of which the gradient is taken.

    Returns:
        A scalar, at least float32, not finite if the gradient overflows; None where the loss depends on no input.

    Raises:
        RuntimeError: If gradients cannot be taken within the step.
    """
    gradients = torch.autograd.grad(loss * _SCALE, inputs, retain_graph=True, allow_unused=True)
    squares = [
        at_least_float32(gradient).div(_SCALE).square().sum()
        for gradient in gradients
        if gradient is not None
    ]
    return torch.stack(squares).sum() if squares else None
