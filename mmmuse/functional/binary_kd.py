import torch.nn.functional as F
from torch import Tensor

from mmmuse.errors import InputError

from .precision import at_least_float32


def binary_kd_loss(student_logits: Tensor, teacher_logits: Tensor, temperature: float) -> Tensor:
    r"""Return the distillation loss between two sets of multi-label logits.

    Each class is a distribution of its own, present or absent, with :math:`p = \sigma(z / \tau)`:

    .. math::
        L = \tau^2 \sum_{k=1}^{K} \Big[ p_k^t \log \frac{p_k^t}{p_k^s}
            + (1 - p_k^t) \log \frac{1 - p_k^t}{1 - p_k^s} \Big]

    averaged over the batch, in float32 at least. The teacher's side gives no gradient.

    Args:
        student_logits: Logits that learn, shape ``(N, K)``.
        teacher_logits: Logits that are imitated, shape ``(N, K)``.
        temperature: :math:`\tau > 0`; 1 in the source.

    Returns:
        A scalar, in nats.

    Raises:
        InputError: If the shapes differ or the temperature is not positive.

    Source: the multi-label logits distillation of "Multi-Label Knowledge Distillation" (Yang et
    al., ICCV 2023). The temperature is that of :func:`kd_loss`.

    Example:
        >>> import torch
        >>> student, teacher = torch.tensor([[0.0, 0.0]]), torch.tensor([[2.0, 0.0]])
        >>> round(binary_kd_loss(student, teacher, temperature=1.0).item(), 4)
        0.3278
    """
    if student_logits.shape != teacher_logits.shape:
        raise InputError(
            'binary_kd_loss needs logits of one shape, got '
            f'{tuple(student_logits.shape)} and {tuple(teacher_logits.shape)}'
        )
    if not temperature > 0:
        raise InputError(f'binary_kd_loss needs a temperature above 0, got {temperature}')
    student = at_least_float32(student_logits) / temperature
    teacher = at_least_float32(teacher_logits.detach()) / temperature
    target = teacher.sigmoid()
    cross_entropy = F.binary_cross_entropy_with_logits(student, target, reduction='none')
    entropy = F.binary_cross_entropy_with_logits(teacher, target, reduction='none')
    return (cross_entropy - entropy).sum(-1).mean() * temperature**2
