from torch import Tensor

from mmmuse.errors import InputError


def local_view(feature: Tensor) -> Tensor:
    """Return a feature as local vectors, one per location.

    Args:
        feature: A map ``(N, C, H, W)``, tokens ``(N, L, C)`` or a vector ``(N, C)``.

    Returns:
        Shape ``(N, L, C)`` with ``L = H * W`` for a map and 1 for a vector; no copy.

    Raises:
        InputError: If the feature has another number of dimensions.

    Source: MUSE, section 3.2, "practical multi-view formulations".

    Example:
        >>> import torch
        >>> local_view(torch.zeros(2, 8, 4, 4)).shape
        torch.Size([2, 16, 8])
    """
    if feature.ndim == 4:
        return feature.flatten(2).transpose(1, 2)
    if feature.ndim == 3:
        return feature
    if feature.ndim == 2:
        return feature.unsqueeze(1)
    raise InputError(
        'a feature is a map (N, C, H, W), tokens (N, L, C) or a vector (N, C), got '
        f'shape {tuple(feature.shape)}'
    )


def global_view(feature: Tensor) -> Tensor:
    """Return a feature as one vector per image: its mean over all locations.

    Args:
        feature: A map ``(N, C, H, W)``, tokens ``(N, L, C)`` or a vector ``(N, C)``.

    Returns:
        Shape ``(N, C)``.

    Raises:
        InputError: If the feature has another number of dimensions.

    Source: MUSE, section 3.2. That a map is summarised by global average
    pooling is assumed; the paper does not give this.

    Example:
        >>> import torch
        >>> global_view(torch.tensor([[[[1.0, 2.0], [3.0, 6.0]]]]))
        tensor([[3.]])
    """
    if feature.ndim == 4:
        return feature.mean((2, 3))
    return local_view(feature).mean(1)
