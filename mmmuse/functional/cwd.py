from torch import Tensor

from mmmuse.errors import InputError

from .precision import at_least_float32


def cwd_loss(feature: Tensor, target: Tensor, temperature: float) -> Tensor:
    r"""Return the channel-wise distillation loss between two maps.

    .. math::
        L = \frac{\tau^2}{N C} \sum_{n, c} \mathrm{KL}\big(\phi(t_{nc}) \,\|\, \phi(a_{nc})\big),
        \quad \phi(a)_i = \frac{\exp(a_i / \tau)}{\sum_j \exp(a_j / \tau)}

    with the softmax over the locations i of a channel, averaged over images and channels, in float32 at
    least. The target gives no gradient.

    Args:
        feature: The map that learns, shape ``(N, C, H, W)``: a feature or the scores of a segmenter.
        target: The map that is imitated, of the same shape.
        temperature: :math:`\tau > 0`.

    Returns:
        A scalar, in nats.

    Raises:
        InputError: If the shapes differ or are not those of maps, or the temperature is not positive.

    Source: "Channel-wise Knowledge Distillation for Dense Prediction" (Shu et al., ICCV 2021),
    equations 2 to 4.

    Example:
        >>> import torch
        >>> feature, target = torch.tensor([[[[0.0, 0.0]]]]), torch.tensor([[[[2.0, 0.0]]]])
        >>> round(cwd_loss(feature, target, temperature=1.0).item(), 4)
        0.3278
        >>> cwd_loss(target + 5, target, temperature=1.0).item()
        0.0
    """
    check_maps('cwd_loss', feature, target)
    if not temperature > 0:
        raise InputError(f'cwd_loss needs a temperature above 0, got {temperature}')
    feature = (at_least_float32(feature).flatten(2) / temperature).log_softmax(2)
    target = (at_least_float32(target.detach()).flatten(2) / temperature).log_softmax(2)
    divergence = (target.exp() * (target - feature)).sum(2)
    return divergence.mean() * temperature**2


def check_maps(name: str, feature: Tensor, target: Tensor) -> None:
    """Refuse two tensors that are not maps of one shape.

    Raises:
        InputError: With both shapes.
    """
    if feature.shape != target.shape or feature.ndim != 4:
        raise InputError(
            f'{name} needs two maps (N, C, H, W) of one shape, got {tuple(feature.shape)} and '
            f'{tuple(target.shape)}'
        )
