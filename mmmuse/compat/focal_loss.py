"""The focal losses of a sigmoid and of a softmax, in plain torch.

Source: Lin et al., "Focal Loss for Dense Object Detection" (ICCV 2017), equation 5.
"""

import torch
import torch.nn.functional as F
from torch import Tensor

from mmmuse.compat.missing_ops import warn_fallback
from mmmuse.compat.precision import precise


def sigmoid_focal_loss_forward(
    input: Tensor, target: Tensor, weight: Tensor, output: Tensor, gamma: float, alpha: float
) -> None:
    r"""Fill ``output`` with :math:`-\alpha_t (1 - p_t)^\gamma \log p_t` of each logit, shape ``(N, C)``.

    mmdet uses it on GPUs only.

    Args:
        input: Logits, shape ``(N, C)``.
        target: The class of each row, shape ``(N,)``; C is background.
        weight: A weight of each class, shape ``(C,)``, or empty.
        output: Filled in place.
        gamma: :math:`\gamma`.
        alpha: :math:`\alpha_t` where the logit is of the row's class; else ``1 - alpha``.
    """
    warn_fallback()
    output.copy_(_sigmoid_loss(precise(input), target, weight, gamma, alpha))


def sigmoid_focal_loss_backward(
    input: Tensor, target: Tensor, weight: Tensor, grad_input: Tensor, gamma: float, alpha: float
) -> None:
    """Fill ``grad_input`` with the derivative of each loss by its own logit."""
    with torch.enable_grad():
        logits = precise(input).detach().requires_grad_()
        loss = _sigmoid_loss(logits, target, weight, gamma, alpha).sum()
    grad_input.copy_(torch.autograd.grad(loss, logits)[0])


def _sigmoid_loss(
    logits: Tensor, target: Tensor, weight: Tensor, gamma: float, alpha: float
) -> Tensor:
    positive = _one_hot(target, logits)
    margin = torch.where(positive, logits, -logits)
    scale = torch.where(positive, alpha, 1 - alpha).to(logits.dtype)
    if weight.numel():
        scale = scale * weight[target, None]
    # (1 - p) ** gamma by its logarithm, whose derivative is finite for any gamma and logit.
    return -scale * (gamma * F.logsigmoid(-margin)).exp() * F.logsigmoid(margin)


def softmax_focal_loss_forward(
    input: Tensor, target: Tensor, weight: Tensor, output: Tensor, gamma: float, alpha: float
) -> None:
    r"""Fill ``output`` with :math:`-\alpha (1 - p_t)^\gamma \log p_t` of each row, shape ``(N,)``.

    Args:
        input: Probabilities, shape ``(N, C)``.
        target: The class of each row, shape ``(N,)``; a negative one has no loss.
        weight: A weight of each class, shape ``(C,)``, or empty.
        output: Filled in place.
        gamma: :math:`\gamma`.
        alpha: :math:`\alpha`.
    """
    warn_fallback()
    scale, right, wrong = _softmax_parts(input, target, weight, alpha)
    output.copy_(-scale * wrong**gamma * right.log())


def softmax_focal_loss_backward(
    input: Tensor,
    target: Tensor,
    weight: Tensor,
    buff: Tensor,
    grad_input: Tensor,
    gamma: float,
    alpha: float,
) -> None:
    """Fill ``grad_input`` with the derivative of each row's loss by its logits; ``buff`` has its factor."""
    scale, right, wrong = _softmax_parts(input, target, weight, alpha)
    slope = scale * (gamma * wrong ** (gamma - 1) * right * right.log() - wrong**gamma)
    buff.copy_(slope)
    probs = precise(input)
    grad_input.copy_(slope[:, None] * (_one_hot(target, probs).to(probs.dtype) - probs))


def _softmax_parts(
    probs: Tensor, target: Tensor, weight: Tensor, alpha: float
) -> tuple[Tensor, Tensor, Tensor]:
    """Return each row's factor, and the probabilities of its class and of all others.

    Both are clamped above 0, so that their logarithms and negative powers are finite.
    """
    probs, tiny = precise(probs), torch.finfo(torch.float32).tiny
    label = target.clamp(min=0)
    right = probs.gather(1, label[:, None])[:, 0]
    scale = alpha * (target >= 0).to(probs.dtype)
    if weight.numel():
        scale = scale * weight[label]
    return scale, right.clamp(min=tiny), (1 - right).clamp(min=tiny)


def _one_hot(target: Tensor, rows: Tensor) -> Tensor:
    return target[:, None] == torch.arange(rows.shape[1], device=target.device)
