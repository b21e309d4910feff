import torch
from torch import Tensor

from mmmuse.errors import InputError

from .precision import at_least_float32


def localisation_distillation_loss(
    student_logits: Tensor,
    teacher_logits: Tensor,
    weights: Tensor,
    temperature: float,
    total: Tensor | float | None = None,
) -> Tensor:
    r"""Return the distillation loss between the distributions of box sides.

    .. math::
        L = \frac{\tau^2}{\sum_p w_p} \sum_p w_p\, \frac{1}{4} \sum_{e}
            \mathrm{KL}\big(\mathrm{softmax}(t_{pe} / \tau) \,\|\, \mathrm{softmax}(s_{pe} / \tau)\big)

    for the four sides e of each location p, in float32 at least. The teacher's side and the weights give no
    gradient.

    Args:
        student_logits: Logits that learn, of B bins for each side, shape ``(P, 4, B)``.
        teacher_logits: Logits that are imitated, of the same shape.
        weights: :math:`w_p`, 0 or more, shape ``(P, )``.
        temperature: :math:`\tau > 0`.
        total: Takes the place of the sum of the weights, e.g. its mean over processes.

    Returns:
        A scalar, in nats; 0 if there are no locations.

    Raises:
        InputError: If the shapes do not fit together, or the temperature is not positive.

    Source: "Localization Distillation for Dense Object Detection" (Zheng et al., CVPR 2022), equations 3
    and 4.

    Example:
        >>> import torch
        >>> student, teacher = torch.zeros(1, 4, 2), torch.tensor([[[2.0, 0.0]]]).expand(1, 4, 2)
        >>> weights = torch.tensor([0.5])
        >>> round(localisation_distillation_loss(student, teacher, weights, 1.0).item(), 4)
        0.3278
    """
    shape = student_logits.shape
    if shape != teacher_logits.shape or len(shape) != 3 or shape[1] != 4:
        raise InputError(
            'localisation_distillation_loss needs logits (P, 4, B) of one shape, got '
            f'{tuple(shape)} and {tuple(teacher_logits.shape)}'
        )
    if weights.shape != shape[:1]:
        raise InputError(
            f'localisation_distillation_loss needs a weight for each of {shape[0]} locations, got '
            f'weights {tuple(weights.shape)}'
        )
    if not temperature > 0:
        raise InputError(
            f'localisation_distillation_loss needs a temperature above 0, got {temperature}'
        )
    weights = at_least_float32(weights.detach())
    student = (at_least_float32(student_logits) / temperature).log_softmax(2)
    teacher = (at_least_float32(teacher_logits.detach()) / temperature).log_softmax(2)
    of_side = (teacher.exp() * (teacher - student)).sum(2)
    total = weights.sum() if total is None else torch.as_tensor(total).to(weights)
    # Without weights the sum is 0, and so is the loss.
    return temperature**2 * (weights * of_side.mean(1)).sum() / total.clamp(min=1e-6)
