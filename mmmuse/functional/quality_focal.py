import torch.nn.functional as F
from torch import Tensor

from mmmuse.errors import InputError

from .precision import at_least_float32


def quality_focal_distance(
    student_logits: Tensor, teacher_logits: Tensor, beta: float = 1.0
) -> Tensor:
    r"""Return the quality focal loss of scores against a teacher's, for each of them.

    .. math::
        d = \big|\sigma(t) - \sigma(s)\big|^{\beta} \, \mathrm{BCE}\big(\sigma(s), \sigma(t)\big)

    in float32 at least. The teacher's side gives no gradient.

    Args:
        student_logits: Logits that learn, of classes that do not exclude each other; any shape.
        teacher_logits: Logits that are imitated, of the same shape.
        beta: :math:`\beta \ge 0`.

    Returns:
        The distances, of the same shape.

    Raises:
        InputError: If the shapes differ or ``beta`` is negative.

    Source: "Generalized Focal Loss" (Li et al., NeurIPS 2020), equation 5, with the teacher's score in
    place of the IoU, as in "CrossKD: Cross-Head Knowledge Distillation for Object Detection" (Wang et
    al., CVPR 2024).

    Example:
        >>> import torch
        >>> student, teacher = torch.tensor([0.0]), torch.tensor([100.0])
        >>> round(quality_focal_distance(student, teacher, beta=1.0).item(), 4)
        0.3466
    """
    if student_logits.shape != teacher_logits.shape:
        raise InputError(
            'quality_focal_distance needs logits of one shape, got '
            f'{tuple(student_logits.shape)} and {tuple(teacher_logits.shape)}'
        )
    if beta < 0:
        raise InputError(f'quality_focal_distance needs a beta of at least 0, got {beta}')
    student = at_least_float32(student_logits)
    target = at_least_float32(teacher_logits.detach()).sigmoid()
    entropy = F.binary_cross_entropy_with_logits(student, target, reduction='none')
    return (target - student.sigmoid()).abs().pow(beta) * entropy
