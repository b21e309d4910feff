import torch
from torch import Tensor

from mmmuse.errors import InputError

from .precision import at_least_float32

_EPSILON = 1e-7


def crd_loss(positive: Tensor, negative: Tensor, num_images: int) -> Tensor:
    r"""Return the noise-contrastive loss of one side of CRD.

    .. math::
        L = -\frac{1}{N} \sum_n \Big[ \log \frac{h^+_n}{h^+_n + K / M}
            + \sum_{k=1}^{K} \log \frac{K / M}{h^-_{nk} + K / M} \Big]

    with h the scores, exponentials divided by their normalisation, K negatives for each
    image and M images in the set. In float32 at least.

    Args:
        positive: :math:`h^+`, above 0, shape ``(N, )``.
        negative: :math:`h^-`, above 0, shape ``(N, K)``.
        num_images: M.

    Returns:
        A scalar, in nats.

    Raises:
        InputError: If the shapes do not match.

    Source: "Contrastive Representation Distillation" (Tian et al., ICLR 2020),
    equations 17 to 19; the 1e-7 in each denominator is that of its public code.

    Example:
        >>> import torch
        >>> round(crd_loss(torch.tensor([1.0]), torch.tensor([[1.0, 1.0]]), 2).item(), 4)
        2.0794
    """
    if positive.ndim != 1 or negative.ndim != 2 or len(positive) != len(negative):
        raise InputError(
            'crd_loss needs scores (N, ) and (N, K), got '
            f'{tuple(positive.shape)} and {tuple(negative.shape)}'
        )
    positive, negative = at_least_float32(positive), at_least_float32(negative)
    noise = negative.shape[1] / num_images
    of_positive = torch.log(positive / (positive + noise + _EPSILON))
    of_negative = torch.log(noise / (negative + noise + _EPSILON))
    return -(of_positive.sum() + of_negative.sum()) / len(positive)
