from collections.abc import Sequence

from torch import Tensor

from mmmuse.errors import InputError

from .precision import at_least_float32


def fast_normalised_fusion(
    maps: Sequence[Tensor], weights: Tensor, epsilon: float = 1e-4
) -> Tensor:
    r"""Return the weighted mean of maps, with learned weights.

    .. math::
        O = \sum_i \frac{\max(w_i, 0)}{\epsilon + \sum_j \max(w_j, 0)} \, I_i

    The weights and the sum are float32 at least; the mean has the type of the maps.

    Args:
        maps: K maps of one shape, e.g. ``(N, C, H, W)``.
        weights: w, shape ``(K, )``.
        epsilon: Keeps the quotient finite where every weight is 0.

    Returns:
        A map of that shape.

    Raises:
        InputError: If the number of weights is not that of the maps.

    Source: "EfficientDet" (Tan et al., CVPR 2020), section 3.3.

    Example:
        >>> import torch
        >>> maps = [torch.tensor([2.0]), torch.tensor([6.0]), torch.tensor([9.0])]
        >>> fast_normalised_fusion(maps, torch.tensor([1.0, 3.0, -1.0]), epsilon=0.0)
        tensor([5.])
    """
    if weights.shape != (len(maps),):
        raise InputError(
            f'fast_normalised_fusion needs one weight for each of {len(maps)} maps, got shape '
            f'{tuple(weights.shape)}'
        )
    weights = at_least_float32(weights).relu()
    weights = weights / (epsilon + weights.sum())
    mean = sum(weight * at_least_float32(map) for weight, map in zip(weights, maps, strict=True))
    return mean.to(maps[0].dtype)
