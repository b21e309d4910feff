import torch
from torch import Tensor


def at_least_float32(tensor: Tensor) -> Tensor:
    """Return a tensor of any floating type in float32, or in float64 if it is that already.

    Example:
        >>> at_least_float32(torch.zeros(2, dtype=torch.bfloat16)).dtype
        torch.float32
    """
    return tensor.to(torch.promote_types(tensor.dtype, torch.float32))
