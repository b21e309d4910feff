from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor

from mmmuse.errors import InputError

from .precision import at_least_float32

AlignmentDistance = Literal['cosine', 'smooth_l1']


def alignment_loss(
    feature: Tensor,
    target: Tensor,
    distance: AlignmentDistance = 'cosine',
    beta: float = 2.0,
    eps: float = 1e-6,
) -> Tensor:
    r"""Return the distance of feature vectors, each normalised over its channels.

    .. math::
        \hat x = \frac{x - \mathrm{mean}_c(x)}{\sqrt{\mathrm{var}_c(x) + \epsilon}}, \qquad
        L_{cos} = \frac{1}{M} \sum_m \big[ 1 - \cos(\hat a_m, \hat t_m) \big], \qquad
        L_{l1} = \frac{1}{M C} \sum_{m, c} h_\beta(\hat a_{mc} - \hat t_{mc})

    with :math:`h_\beta(d) = d^2 / (2 \beta)` up to :math:`|d| = \beta` and
    :math:`|d| - \beta / 2` above it; in float32 at least. The target gives no gradient.

    Args:
        feature: The M vectors that learn, shape ``(..., C)``.
        target: The vectors that are imitated, of the same shape.
        distance: ``'cosine'`` or ``'smooth_l1'``.
        beta: Of smooth L1, above 0.
        eps: Added to the variance.

    Returns:
        A scalar; from 0 to 2 for ``'cosine'``. 0 if each vector is the target's up to a positive
        factor and a shift of all its channels.

    Raises:
        InputError: If the shapes differ, or a vector has fewer than two channels.

    Source: the normalised target and smooth L1 with ``beta`` 2: "Contrastive Learning Rivals Masked
    Image Modeling in Fine-tuning via Feature Distillation" (Wei et al., 2022), as remembered:
    assumed. ``eps`` is assumed.

    Example:
        >>> import torch
        >>> target = torch.tensor([[0.0, 1.0, 2.0]])
        >>> round(alignment_loss(torch.tensor([[5.0, 7.0, 9.0]]), target).item(), 4)
        0.0
        >>> round(alignment_loss(torch.tensor([[1.0, 0.0, 2.0]]), target).item(), 4)
        0.5
        >>> round(alignment_loss(torch.tensor([[1.0, 0.0, 2.0]]), target, 'smooth_l1').item(), 4)
        0.25
    """
    if feature.shape != target.shape or feature.shape[-1] < 2:
        raise InputError(
            'alignment_loss compares vectors (..., C) of at least two channels and of one shape, got '
            f'{tuple(feature.shape)} and {tuple(target.shape)}'
        )
    own, other = (_normalised(x, eps) for x in (feature, target.detach()))
    if distance == 'cosine':
        return 1 - F.cosine_similarity(own, other, dim=-1).mean()
    return F.smooth_l1_loss(own, other, beta=beta)


def _normalised(vectors: Tensor, eps: float) -> Tensor:
    with torch.autocast(vectors.device.type, enabled=False):
        return F.layer_norm(at_least_float32(vectors), vectors.shape[-1:], eps=eps)
