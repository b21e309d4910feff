import math

from torch import Tensor

from mmmuse.errors import InputError

from .precision import at_least_float32


def logmeanexp(scores: Tensor) -> Tensor:
    r"""Return the logarithm of the mean of exponentials, without overflow.

    .. math::
        \log \frac{1}{M} \sum_{i=1}^{M} e^{x_i}

    Args:
        scores: M values of any shape. Computed in float32 at least.

    Returns:
        A scalar.

    Raises:
        InputError: If the tensor is empty.

    Example:
        >>> import torch
        >>> round(logmeanexp(torch.tensor([0.0, 3.0]).log1p()).item(), 4)  # log((1 + 4) / 2)
        0.9163
        >>> logmeanexp(torch.tensor([500.0, 500.0])).item()
        500.0
    """
    if scores.numel() == 0:
        raise InputError(f'logmeanexp needs at least one value, got shape {tuple(scores.shape)}')
    return at_least_float32(scores).flatten().logsumexp(0) - math.log(scores.numel())
