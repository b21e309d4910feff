import torch.nn.functional as F
from torch import Tensor

from mmmuse.errors import InputError

from .precision import at_least_float32


def kd_loss(student_logits: Tensor, teacher_logits: Tensor, temperature: float) -> Tensor:
    r"""Return the distillation loss between two sets of class logits.

    .. math::
        L = \tau^2 \, \mathrm{KL}\big(\mathrm{softmax}(z_t / \tau) \,\|\,
                                      \mathrm{softmax}(z_s / \tau)\big)

    averaged over the batch, in float32 at least. The teacher's side gives no gradient.

    Args:
        student_logits: Logits that learn, shape ``(N, K)``.
        teacher_logits: Logits that are imitated, shape ``(N, K)``.
        temperature: :math:`\tau > 0`.

    Returns:
        A scalar, in nats.

    Raises:
        InputError: If the shapes differ or the temperature is not positive.

    Source: Hinton et al., "Distilling the Knowledge in a Neural Network"
    (2015), section 2; used between exits by BYOT (Zhang et al., ICCV 2019).

    Example:
        >>> import torch
        >>> student, teacher = torch.tensor([[1.0, 0.0]]), torch.tensor([[3.0, 0.0]])
        >>> round(kd_loss(student, teacher, temperature=2.0).item(), 4)
        0.361
    """
    if student_logits.shape != teacher_logits.shape:
        raise InputError(
            'kd_loss needs logits of one shape, got '
            f'{tuple(student_logits.shape)} and {tuple(teacher_logits.shape)}'
        )
    if not temperature > 0:
        raise InputError(f'kd_loss needs a temperature above 0, got {temperature}')
    student = F.log_softmax(at_least_float32(student_logits) / temperature, dim=-1)
    teacher = F.log_softmax(at_least_float32(teacher_logits.detach()) / temperature, dim=-1)
    return F.kl_div(student, teacher, reduction='batchmean', log_target=True) * temperature**2
