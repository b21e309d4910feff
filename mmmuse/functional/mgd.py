import torch
from torch import Tensor

from mmmuse.errors import InputError

from .cwd import check_maps
from .precision import at_least_float32


def mgd_loss(generated: Tensor, target: Tensor) -> Tensor:
    r"""Return the squared distance of generated maps from their targets, summed over each image.

    .. math::
        L = \frac{1}{N} \sum_{n, c, i} \big(t_{nci} - g_{nci}\big)^2

    in float32 at least. The target gives no gradient.

    Args:
        generated: What was generated from a masked map, shape ``(N, C, H, W)``.
        target: The map that is imitated, of the same shape.

    Returns:
        A scalar.

    Raises:
        InputError: If the shapes differ or are not those of maps.

    Source: "Masked Generative Distillation" (Yang et al., ECCV 2022), equation 4; the mean over the
    images is that of its public code.

    Example:
        >>> import torch
        >>> mgd_loss(torch.ones(2, 3, 4, 4), torch.zeros(2, 3, 4, 4)).item()
        48.0
    """
    check_maps('mgd_loss', generated, target)
    distance = at_least_float32(target.detach()) - at_least_float32(generated)
    return distance.square().sum() / len(generated)


def masked_locations(feature: Tensor, ratio: float) -> Tensor:
    r"""Return a map in which random locations are zero, in all of their channels.

    .. math::
        a_{nci} M_{ni}, \quad M_{ni} = 0 \text{ where } R_{ni} < \lambda, \text{ else } 1,
        \quad R_{ni} \sim U(0, 1)

    The draws are those of the device's random state.

    Args:
        feature: A map ``(N, C, H, W)``.
        ratio: :math:`\lambda`, the part of the locations that become zero, from 0 to 1.

    Returns:
        A map of the same shape.

    Raises:
        InputError: If the ratio is out of its range.

    Source: "Masked Generative Distillation" (Yang et al., ECCV 2022), equation 2.

    Example:
        >>> import torch
        >>> _ = torch.manual_seed(0)
        >>> masked_locations(torch.ones(1, 1, 2, 4), ratio=0.5)
        tensor([[[[0., 1., 0., 0.],
                  [0., 1., 0., 1.]]]])
    """
    if not 0 <= ratio <= 1:
        raise InputError(f'masked_locations needs a ratio from 0 to 1, got {ratio}')
    draws = torch.rand(len(feature), 1, *feature.shape[2:], device=feature.device)
    return feature * (draws >= ratio).to(feature)
