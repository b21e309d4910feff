"""The focal losses of a sigmoid and of a softmax, in plain torch.

Source: Lin et al., "Focal Loss for Dense Object Detection" (ICCV 2017), equation 5.
"""

import torch
import torch.nn.functional as F
from torch import Tensor

from mmmuse.compat.missing_ops import say_so
from mmmuse.compat.precision import precise


def sigmoid_focal_loss_forward(
    input: Tensor, target: Tensor, weight: Tensor, output: Tensor, gamma: float, alpha: float
) -> None:
    r"""Fill ``output`` with :math:`-\alpha_t (1 - p_t)^\gamma \log p_t` of each logit, shape ``(N, C)``.

    mmdet asks for it on a GPU only.

    Args:
        input: Logits, shape ``(N, C)``.
        target: The class of each row, shape ``(N,)``; C is background.
        weight: A weight of each class, shape ``(C,)``, or nothing.
        output: What is filled.
        gamma: :math:`\gamma`.
        alpha: :math:`\alpha_t` where the logit is of the row's class; else ``1 - alpha``.
    """
    say_so()
    _, scale, margin = _sigmoid_parts(input, target, weight, alpha)
    output.copy_(-scale * margin.neg().sigmoid() ** gamma * F.logsigmoid(margin))


def sigmoid_focal_loss_backward(
    input: Tensor, target: Tensor, weight: Tensor, grad_input: Tensor, gamma: float, alpha: float
) -> None:
    """Fill ``grad_input`` with the derivative of each loss by its own logit."""
    sign, scale, margin = _sigmoid_parts(input, target, weight, alpha)
    right, wrong = margin.sigmoid(), margin.neg().sigmoid()
    slope = wrong**gamma * (wrong - gamma * right * F.logsigmoid(margin))
    grad_input.copy_(-sign * scale * slope)


def _sigmoid_parts(
    logits: Tensor, target: Tensor, weight: Tensor, alpha: float
) -> tuple[Tensor, Tensor, Tensor]:
    """Return the sign of the right answer, the loss's factor, and the logit of the right answer."""
    logits = precise(logits)
    positive = _one_hot(target, logits)
    sign = positive.to(logits.dtype) * 2 - 1
    scale = torch.where(positive, alpha, 1 - alpha).to(logits.dtype)
    if weight.numel():
        scale = scale * weight[target, None]
    return sign, scale, sign * logits


def softmax_focal_loss_forward(
    input: Tensor, target: Tensor, weight: Tensor, output: Tensor, gamma: float, alpha: float
) -> None:
    r"""Fill ``output`` with :math:`-\alpha (1 - p_t)^\gamma \log p_t` of each row, shape ``(N,)``.

    Args:
        input: Probabilities, shape ``(N, C)``.
        target: The class of each row, shape ``(N,)``; a negative one has no loss.
        weight: A weight of each class, shape ``(C,)``, or nothing.
        output: What is filled.
        gamma: :math:`\gamma`.
        alpha: :math:`\alpha`.
    """
    say_so()
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
    chance = precise(input)
    grad_input.copy_(slope[:, None] * (_one_hot(target, chance).to(chance.dtype) - chance))


def _softmax_parts(
    chance: Tensor, target: Tensor, weight: Tensor, alpha: float
) -> tuple[Tensor, Tensor, Tensor]:
    """Return each row's factor of the loss, and the chances of a right and of a wrong answer.

    Neither chance is quite nothing, so that their logarithm and negative powers are finite.
    """
    chance, tiny = precise(chance), torch.finfo(torch.float32).tiny
    label = target.clamp(min=0)
    right = chance.gather(1, label[:, None])[:, 0]
    scale = alpha * (target >= 0).to(chance.dtype)
    if weight.numel():
        scale = scale * weight[label]
    return scale, right.clamp(min=tiny), (1 - right).clamp(min=tiny)


def _one_hot(target: Tensor, rows: Tensor) -> Tensor:
    return target[:, None] == torch.arange(rows.shape[1], device=target.device)
