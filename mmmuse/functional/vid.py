from torch import Tensor

from mmmuse.errors import InputError

from .precision import at_least_float32


def vid_loss(mean: Tensor, variance: Tensor, target: Tensor) -> Tensor:
    r"""Return the negated variational bound of the information about a target map.

    The target is modelled as a Gaussian with a mean for each value and a variance for each channel:

    .. math::
        L = \mathbb{E}_{n,c,h,w}\Big[ \frac{(\mu_{nchw} - t_{nchw})^2}{2 \sigma_c^2}
          + \frac{1}{2} \log \sigma_c^2 \Big]

    in float32 at least; the constant :math:`\frac{1}{2} \log 2\pi` is omitted.

    Args:
        mean: :math:`\mu`, shape ``(N, C, H, W)``.
        variance: :math:`\sigma^2 > 0` of each channel, shape ``(C, )``.
        target: Shape ``(N, C, H, W)``.

    Returns:
        A scalar, in nats for each value; below 0 where the variance is small.

    Raises:
        InputError: If the two are not maps of one shape, or the variance is not
            one for each channel.

    Source: "Variational Information Distillation for Knowledge Transfer" (Ahn et al., CVPR 2019).

    Example:
        >>> import torch
        >>> mean, target = torch.zeros(1, 1, 1, 2), torch.tensor([[[[2.0, 0.0]]]])
        >>> vid_loss(mean, torch.ones(1), target).item()
        1.0
    """
    if mean.ndim != 4 or mean.shape != target.shape:
        raise InputError(
            'vid_loss needs maps (N, C, H, W) of one shape, got '
            f'{tuple(mean.shape)} and {tuple(target.shape)}'
        )
    if variance.shape != mean.shape[1:2]:
        raise InputError(
            f'vid_loss needs one variance for each of {mean.shape[1]} channels, got shape '
            f'{tuple(variance.shape)}'
        )
    mean, target = at_least_float32(mean), at_least_float32(target)
    variance = at_least_float32(variance)[:, None, None]
    return 0.5 * ((mean - target) ** 2 / variance + variance.log()).mean()
