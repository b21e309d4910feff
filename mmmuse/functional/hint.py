from torch import Tensor

from mmmuse.errors import InputError

from .precision import at_least_float32


def hint_loss(feature: Tensor, target: Tensor) -> Tensor:
    r"""Return BYOT's L2 distance between an exit's vector and the last one.

    .. math::
        L = \sum_{n,c} (a_{nc} - t_{nc})^2 \; [a_{nc} > 0 \lor t_{nc} > 0]

    A sum, not a mean: BYOT's weight is 1e-6. The target gives no gradient.
    Computed in float32 at least.

    Args:
        feature: The exit's pooled feature, shape ``(N, C)``.
        target: The last pooled feature, shape ``(N, C)``.

    Returns:
        A scalar.

    Raises:
        InputError: If the shapes differ.

    Source: "Be Your Own Teacher" (Zhang et al., ICCV 2019), section 3.2; the
    mask is that of its public code.

    Example:
        >>> import torch
        >>> hint_loss(torch.tensor([[1.0, -1.0]]), torch.tensor([[3.0, -5.0]])).item()
        4.0
    """
    if feature.shape != target.shape:
        raise InputError(
            'hint_loss compares vectors of one shape, got '
            f'{tuple(feature.shape)} and {tuple(target.shape)}'
        )
    feature, target = at_least_float32(feature), at_least_float32(target.detach())
    active = (feature > 0) | (target > 0)
    return ((feature - target) ** 2 * active).sum()
