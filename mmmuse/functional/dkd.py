import torch
import torch.nn.functional as F
from torch import Tensor

from mmmuse.errors import InputError

from .precision import at_least_float32


def dkd_loss(
    student_logits: Tensor,
    teacher_logits: Tensor,
    labels: Tensor,
    temperature: float,
    target_weight: float,
    other_weight: float,
) -> Tensor:
    r"""Return the distillation loss with separate weights for its two parts.

    .. math::
        L = \tau^2 \big[ \alpha\, \mathrm{KL}(b^t \,\|\, b^s)
            + \beta\, \mathrm{KL}(\hat p^t \,\|\, \hat p^s) \big]

    :math:`b` is the softmax's probability of the label and that of all other classes together,
    :math:`\hat p` the distribution over the other classes, both at temperature :math:`\tau`.
    Averaged over the batch, in float32 at least; the teacher's side gives no gradient. With
    :math:`\alpha = 1` and for each image :math:`\beta = 1 - p^t_{label}` it is :func:`kd_loss`.

    Args:
        student_logits: Logits that learn, shape ``(N, K)``.
        teacher_logits: Logits that are imitated, shape ``(N, K)``.
        labels: Classes, shape ``(N, )``.
        temperature: :math:`\tau > 0`.
        target_weight: :math:`\alpha`.
        other_weight: :math:`\beta`.

    Returns:
        A scalar, in nats.

    Raises:
        InputError: If the shapes differ, there are fewer than two classes, or the
            temperature is not positive.

    Source: "Decoupled Knowledge Distillation" (Zhao et al., CVPR 2022), equation 7.

    Example:
        >>> import torch
        >>> student = torch.tensor([[0.0, 0.0, 0.0]])
        >>> teacher = torch.tensor([[0.0, 1.0, 0.0]])
        >>> label = torch.tensor([0])
        >>> round(dkd_loss(student, teacher, label, 1.0, 1.0, 0.0).item(), 4)
        0.0359
        >>> round(dkd_loss(student, teacher, label, 1.0, 0.0, 1.0).item(), 4)
        0.1109
    """
    if student_logits.shape != teacher_logits.shape or student_logits.ndim != 2:
        raise InputError(
            'dkd_loss needs logits (N, K) of one shape, got '
            f'{tuple(student_logits.shape)} and {tuple(teacher_logits.shape)}'
        )
    if labels.shape != student_logits.shape[:1] or student_logits.shape[1] < 2:
        raise InputError(
            f'dkd_loss needs a label for each of {len(student_logits)} images and two classes or '
            f'more, got labels {tuple(labels.shape)} and {student_logits.shape[1]} classes'
        )
    if not temperature > 0:
        raise InputError(f'dkd_loss needs a temperature above 0, got {temperature}')
    student, student_others = _split(student_logits, labels, temperature)
    teacher, teacher_others = _split(teacher_logits.detach(), labels, temperature)
    target = F.kl_div(student, teacher, reduction='batchmean', log_target=True)
    other = F.kl_div(student_others, teacher_others, reduction='batchmean', log_target=True)
    return temperature**2 * (target_weight * target + other_weight * other)


def _split(logits: Tensor, labels: Tensor, temperature: float) -> tuple[Tensor, Tensor]:
    """Return log probabilities of label and rest ``(N, 2)``, and of each other class ``(N, K - 1)``."""
    scaled = at_least_float32(logits) / temperature
    others = torch.arange(logits.shape[1] - 1, device=logits.device)
    others = others + (
        others >= labels[:, None]
    )  # By index: a mask would synchronise with the GPU.
    of_label, others = scaled.gather(1, labels[:, None]), scaled.gather(1, others)
    binary = torch.cat([of_label, others.logsumexp(1, keepdim=True)], 1)
    return binary.log_softmax(1), others.log_softmax(1)
