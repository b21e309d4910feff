from typing import Any

from torch import Tensor
from torch.autograd.function import Function


def scale_gradient(tensor: Tensor, scale: float) -> Tensor:
    """Return the tensor itself; its gradient comes back times ``scale``.

    A loss behind it is minimised at full strength by its own parameters, while what lies
    before it follows ``scale`` times as hard. At a scale of 1 the tensor is returned as it is.

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
    r"""Return the tensor itself; its gradient comes back times :math:`-scale`.

    What minimises a loss behind it is trained against by what lies before it, in
    the same step.

    Args:
        tensor: Any floating tensor.
        scale: Of the reversed gradient.

    Source: "Unsupervised Domain Adaptation by Backpropagation" (Ganin and
    Lempitsky, ICML 2015).

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
