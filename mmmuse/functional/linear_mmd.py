from torch import Tensor

from mmmuse.errors import InputError

from .precision import at_least_float32


def linear_mmd_loss(first: Tensor, second: Tensor) -> Tensor:
    r"""Return the squared distance of the means of two batches of vectors.

    .. math::
        L = \Big\| \frac{1}{N} \sum_n a_n - \frac{1}{M} \sum_m b_m \Big\|_2^2

    in float32 at least: the squared maximum mean discrepancy with a linear
    kernel. Both sides receive a gradient.

    Args:
        first: a, shape ``(N, C)``.
        second: b, shape ``(M, C)``.

    Returns:
        A scalar.

    Raises:
        InputError: If the two are not vectors of one length.

    Source: "Data-Distortion Guided Self-Distillation for Deep Neural Networks"
    (Xu and Liu, AAAI 2019).

    Example:
        >>> import torch
        >>> linear_mmd_loss(torch.tensor([[1.0, 0.0], [3.0, 0.0]]), torch.tensor([[0.0, 1.0]])).item()
        5.0
    """
    if first.ndim != 2 or second.ndim != 2 or first.shape[1] != second.shape[1]:
        raise InputError(
            'linear_mmd_loss compares batches of vectors of one length, got '
            f'{tuple(first.shape)} and {tuple(second.shape)}'
        )
    means = at_least_float32(first).mean(0), at_least_float32(second).mean(0)
    return ((means[0] - means[1]) ** 2).sum()
