import torch
from torch import Tensor


def at_least_float32(tensor: Tensor) -> Tensor:
    """Return a floating tensor as float32, or unchanged if it is float64.

    Example:
        >>> at_least_float32(torch.zeros(2, dtype=torch.bfloat16)).dtype
        torch.float32
    """
    return tensor.to(torch.promote_types(tensor.dtype, torch.float32))


def root(squares: Tensor) -> Tensor:
    """Return the square root, whose gradient is finite at 0, too.

    Example:
        >>> zero = torch.zeros((), requires_grad=True)
        >>> torch.autograd.grad(root(zero), zero)
        (tensor(0.),)
    """
    return squares.clamp(min=torch.finfo(squares.dtype).tiny).sqrt()
