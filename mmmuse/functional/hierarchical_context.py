import torch.nn.functional as F
from torch import Tensor

from mmmuse.errors import InputError

from .precision import at_least_float32

_GRIDS = (4, 2, 1)


def hierarchical_context_loss(feature: Tensor, target: Tensor) -> Tensor:
    r"""Return the distance between two maps on their own grid and on coarser ones.

    .. math::
        L = \frac{\sum_{l} 2^{-l}\, \mathbb{E}\big[ (P_l(a) - P_l(t))^2 \big]}{\sum_l 2^{-l}}

    :math:`P_0` is the identity, the next ones average a map to 4x4, 2x2 and 1x1; grids that are not
    smaller than the map's are omitted. In float32 at least; the target gives no gradient.

    Args:
        feature: The map that learns, shape ``(N, C, H, W)``.
        target: The map that is imitated, of the same shape.

    Returns:
        A scalar.

    Raises:
        InputError: If the two are not maps of one shape.

    Source: "Distilling Knowledge via Knowledge Review" (Chen et al., CVPR 2021), section
    3.3; grids and weights are those of its public code.

    Example:
        >>> import torch
        >>> feature = torch.tensor([[[[1.0, -1.0], [1.0, -1.0]]]])
        >>> round(hierarchical_context_loss(feature, torch.zeros(1, 1, 2, 2)).item(), 4)
        0.6667
    """
    if feature.ndim != 4 or feature.shape != target.shape:
        raise InputError(
            'hierarchical_context_loss needs maps (N, C, H, W) of one shape, got '
            f'{tuple(feature.shape)} and {tuple(target.shape)}'
        )
    feature, target = at_least_float32(feature), at_least_float32(target.detach())
    total, weight, weights = F.mse_loss(feature, target), 1.0, 1.0
    for grid in _GRIDS:
        if grid >= min(feature.shape[2:]):
            continue
        weight /= 2
        weights += weight
        pooled = (F.adaptive_avg_pool2d(maps, grid) for maps in (feature, target))
        total = total + weight * F.mse_loss(*pooled)
    return total / weights
