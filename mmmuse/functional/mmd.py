import torch
import torch.nn.functional as F
from torch import Tensor

from mmmuse.errors import InputError

from .precision import at_least_float32
from .views import same_grid


def mmd_loss(feature: Tensor, target: Tensor) -> Tensor:
    r"""Return the squared maximum mean discrepancy between the channels of two maps.

    A channel is one sample: its pattern over the locations, normalised to length
    1. The larger map is average-pooled to the grid of the smaller one; the
    channels may differ in number. With :math:`k(x, y) = (x^\top y)^2`,

    .. math::
        L = \mathbb{E}_{c, c'}[k(s_c, s_{c'})] + \mathbb{E}_{c, c'}[k(t_c, t_{c'})]
          - 2\, \mathbb{E}_{c, c'}[k(s_c, t_{c'})]

    averaged over the images, in float32 at least. It is the squared distance of
    the means of :math:`x x^\top`, so never negative, and 0 for equal maps.

    Args:
        feature: Shape ``(N, C, H, W)``.
        target: Shape ``(N, D, h, w)``.

    Returns:
        A scalar.

    Raises:
        InputError: If either is not a map, or the numbers of images differ.

    Source: "Like What You Like: Knowledge Distill via Neuron Selectivity Transfer"
    (Huang and Wang, 2017), with its polynomial kernel (d = 2, c = 0).

    Example:
        >>> import torch
        >>> one, other = torch.tensor([[[[1.0, 0.0]]]]), torch.tensor([[[[0.0, 3.0]]]])
        >>> mmd_loss(one, other).item()
        2.0
        >>> mmd_loss(one, 5 * one).item()
        0.0
    """
    feature, target = same_grid(at_least_float32(feature), at_least_float32(target))
    if len(feature) != len(target):
        raise InputError(
            f'mmd_loss compares maps of the same images, got {len(feature)} and {len(target)}'
        )
    with torch.autocast(feature.device.type, enabled=False):  # The products would be bfloat16.
        first, second = _mean_outer_product(feature), _mean_outer_product(target)
    return ((first - second) ** 2).sum((1, 2)).mean()


def _mean_outer_product(feature: Tensor) -> Tensor:
    """Return the mean of x x^T over the channels, ``(N, L, L)``: the kernel's mean embedding."""
    channels = F.normalize(feature.flatten(2), dim=2)
    return channels.transpose(1, 2) @ channels / channels.shape[1]
