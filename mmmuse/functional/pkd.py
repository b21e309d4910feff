from torch import Tensor

from .cwd import check_maps
from .precision import at_least_float32, root


def pkd_loss(feature: Tensor, target: Tensor, eps: float = 1e-6) -> Tensor:
    r"""Return half the squared distance of two maps whose channels are standardised: 1 - Pearson's r.

    .. math::
        L = \frac{1}{2 m} \sum_{n, c, i} \big(\hat a_{nci} - \hat t_{nci}\big)^2
          = \frac{1}{C} \sum_c \big(1 - r(a_c, t_c)\big),
        \quad \hat a_c = \frac{a_c - \mu_c}{\sigma_c + \epsilon}

    with mean, deviation and correlation of a channel over all images and locations, and m values in
    a map; in float32 at least. The loss ignores the scale and shift of each channel.
    The target gives no gradient.

    Args:
        feature: The map that learns, shape ``(N, C, H, W)``.
        target: The map that is imitated, of the same shape.
        eps: Added to the deviations.

    Returns:
        A scalar from 0 to 2; 0 if each channel is the target's up to a positive factor and a shift.

    Raises:
        InputError: If the shapes differ or are not those of maps.

    Source: "PKD: General Distillation Framework for Object Detectors via Pearson Correlation
    Coefficient" (Cao et al., NeurIPS 2022), equations 2 to 4. ``eps`` is assumed.

    Example:
        >>> import torch
        >>> feature = torch.tensor([[[[0.0, 1.0, 2.0]]]])
        >>> round(pkd_loss(feature, torch.tensor([[[[5.0, 7.0, 9.0]]]])).item(), 4)
        0.0
        >>> round(pkd_loss(feature, torch.tensor([[[[1.0, 0.0, 2.0]]]])).item(), 4)
        0.5
    """
    check_maps('pkd_loss', feature, target)
    distance = _standardised(feature, eps) - _standardised(target.detach(), eps)
    return distance.square().mean() / 2


def _standardised(feature: Tensor, eps: float) -> Tensor:
    """Return channels of mean 0 and deviation 1 over the batch, ``(C, N H W)``."""
    channels = at_least_float32(feature).transpose(0, 1).flatten(1)
    centred = channels - channels.mean(1, keepdim=True)
    # Of the mean square: the deviation of a constant channel would have no gradient but NaN.
    variance = centred.square().mean(1, keepdim=True)
    return centred / (root(variance) + eps)
