import torch.nn.functional as F
from torch import Tensor

from mmmuse.errors import InputError

from .precision import at_least_float32
from .views import same_grid


def attention_transfer_loss(feature: Tensor, target: Tensor) -> Tensor:
    r"""Return the distance between the spatial attention of two maps.

    .. math::
        L = \frac{1}{N L} \sum_{n} \Big\| \frac{q(a_n)}{\|q(a_n)\|_2}
            - \frac{q(t_n)}{\|q(t_n)\|_2} \Big\|_2^2,
        \quad q(a)_{hw} = \frac{1}{C} \sum_c a_{chw}^2

    with L locations, in float32 at least; maps of different grids are pooled
    by :func:`same_grid`. The target gives no gradient.

    Args:
        feature: The map that learns, shape ``(N, C, H, W)``, or tokens.
        target: The map that is imitated, likewise; its number of channels may differ.

    Returns:
        A scalar.

    Raises:
        InputError: If the batches differ or either is a vector.

    Source: "Paying More Attention to Attention" (Zagoruyko and Komodakis, ICLR 2017), equations 1
    and 2 with p = 2; the mean in place of the sum is that of its public code.

    Example:
        >>> import torch
        >>> feature, target = torch.tensor([[[[3.0, 0.0]]]]), torch.tensor([[[[0.0, 1.0]]]])
        >>> attention_transfer_loss(feature, target).item()
        1.0
        >>> attention_transfer_loss(feature, 5 * feature).item()
        0.0
    """
    feature, target = same_grid(at_least_float32(feature), at_least_float32(target.detach()))
    if len(feature) != len(target):
        raise InputError(
            'attention_transfer_loss compares maps of the same images, got '
            f'{len(feature)} and {len(target)}'
        )
    return ((_attention(feature) - _attention(target)) ** 2).mean()


def _attention(feature: Tensor) -> Tensor:
    """Return the normalised mean of squares over the channels, ``(N, L)``."""
    return F.normalize(feature.square().mean(1).flatten(1))
