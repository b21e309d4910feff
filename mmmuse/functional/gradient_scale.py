from typing import Any

from torch import Tensor
from torch.autograd.function import Function


def scale_gradient(tensor: Tensor, scale: float) -> Tensor:
    """Return the same values; the gradient is multiplied by ``scale``.

    Parameters used after this point receive the full gradient of a loss; what produced the tensor
    receives ``scale`` times its gradient. At a scale of 1 the tensor itself is returned.

    Args:
        tensor: Any floating tensor.
        scale: Factor on the gradient.

    Example:
        >>> import torch
        >>> x = torch.tensor([2.0], requires_grad=True)
        >>> scale_gradient(x, 0.5).square().backward()
        >>> x.grad
        tensor([2.])
    """
    return tensor if scale == 1 else _ScaleGradient.apply(tensor, scale)


def reverse_gradient(tensor: Tensor, scale: float = 1.0) -> Tensor:
    r"""Return the same values; the gradient is multiplied by :math:`-scale`.

    In one step, parameters used after this point minimise a loss and what produced the tensor
    maximises it.

    Args:
        tensor: Any floating tensor.
        scale: Factor on the reversed gradient.

    Source: "Unsupervised Domain Adaptation by Backpropagation" (Ganin and Lempitsky, ICML 2015).

    Example:
        >>> import torch
        >>> x = torch.tensor([2.0], requires_grad=True)
        >>> reverse_gradient(x).square().backward()
        >>> x.grad
        tensor([-4.])
    """
    return scale_gradient(tensor, -scale)


class _ScaleGradient(Function):
    @staticmethod
    def forward(ctx: Any, tensor: Tensor, scale: float) -> Tensor:
        ctx.scale = scale
        return tensor.view_as(tensor)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None]:
        return ctx.scale * grad, None
