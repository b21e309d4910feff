from torch import Tensor

from mmmuse.errors import InputError

from .precision import at_least_float32, root


def dist_loss(
    student_logits: Tensor,
    teacher_logits: Tensor,
    temperature: float,
    inter_weight: float,
    intra_weight: float,
    eps: float = 1e-8,
) -> Tensor:
    r"""Return the distillation loss of relations between and within classes.

    .. math::
        L = \tau^2 \Big[ \beta \frac{1}{N} \sum_n \big(1 - r(p^s_{n \cdot}, p^t_{n \cdot})\big)
            + \gamma \frac{1}{K} \sum_k \big(1 - r(p^s_{\cdot k}, p^t_{\cdot k})\big) \Big]

    with p the softmax at temperature :math:`\tau` and r Pearson's correlation: over the classes of an
    image (inter-class), and over the images of a class (intra-class). In float32 at least; the teacher's side
    gives no gradient.

    Args:
        student_logits: Logits that learn, shape ``(N, K)``, two images or more.
        teacher_logits: Logits that are imitated, shape ``(N, K)``.
        temperature: :math:`\tau > 0`.
        inter_weight: :math:`\beta`.
        intra_weight: :math:`\gamma`.
        eps: Added to the product of the two lengths.

    Returns:
        A scalar.

    Raises:
        InputError: If the shapes differ, there is one image, or the temperature is not positive.

    Source: "Knowledge Distillation from A Stronger Teacher" (Huang et al., NeurIPS 2022), equations 5 to
    10; ``eps`` and the factor :math:`\tau^2` are those of its public code.

    Example:
        >>> import torch
        >>> student = torch.tensor([[2.0, 0.0, 0.0], [0.0, 0.0, 0.0]])
        >>> teacher = torch.tensor([[3.0, 0.0, 0.0], [0.0, 1.0, 0.0]])
        >>> round(dist_loss(student, teacher, 1.0, 1.0, 0.0).item(), 4)
        0.5
        >>> round(dist_loss(student, teacher, 1.0, 0.0, 1.0).item(), 4)
        0.0
    """
    shape = student_logits.shape
    if shape != teacher_logits.shape or len(shape) != 2 or shape[0] < 2:
        raise InputError(
            'dist_loss needs logits (N, K) of one shape and two images or more, got '
            f'{tuple(shape)} and {tuple(teacher_logits.shape)}'
        )
    if not temperature > 0:
        raise InputError(f'dist_loss needs a temperature above 0, got {temperature}')
    student = (at_least_float32(student_logits) / temperature).softmax(1)
    teacher = (at_least_float32(teacher_logits.detach()) / temperature).softmax(1)
    inter = 1 - _correlation(student, teacher, 1, eps).mean()
    intra = 1 - _correlation(student, teacher, 0, eps).mean()
    return temperature**2 * (inter_weight * inter + intra_weight * intra)


def _correlation(first: Tensor, second: Tensor, dim: int, eps: float) -> Tensor:
    """Return Pearson's correlation along a dimension."""
    first = first - first.mean(dim, keepdim=True)
    second = second - second.mean(dim, keepdim=True)
    return (first * second).sum(dim) / (_length(first, dim) * _length(second, dim) + eps)


def _length(vectors: Tensor, dim: int) -> Tensor:
    # The root of 0 has no gradient: a row of equal probabilities.
    return root(vectors.square().sum(dim))
