import torch.nn.functional as F
from torch import Tensor

from mmmuse.errors import InputError

from .precision import at_least_float32
from .scores import refuse_empty_scores


def infonce_loss(joint: Tensor, marginal: Tensor) -> Tensor:
    r"""Return the cross-entropy of classifying the true partner among K others.

    .. math::
        L = -\frac{1}{N S} \sum_{n,s} \log
        \frac{e^{T_{ns}}}{e^{T_{ns}} + \sum_{k=1}^{K} e^{T'_{kns}}}

    It is positive, and :math:`\log(K + 1)` for an uninformed critic. :math:`\log(K + 1) - L` is a
    lower bound of the mutual information, so it is at most :math:`\log(K + 1)`. Computed in float32
    at least.

    Args:
        joint: Scores of true pairs, shape ``(N, S)``.
        marginal: Scores of K mismatched pairs for each, shape ``(K, N, S)``.

    Returns:
        A scalar, in nats.

    Raises:
        InputError: If either side is empty, or the shapes do not match.

    Source: "Representation Learning with Contrastive Predictive Coding" (van
    den Oord et al., 2018), equation 4.

    Example:
        >>> import torch
        >>> joint = torch.tensor([[2.0, 0.0]])
        >>> marginal = torch.tensor([[[-1.0, 0.0]], [[0.0, 0.0]]])
        >>> round(infonce_loss(joint, marginal).item(), 4)
        0.6342
        >>> round(infonce_loss(torch.zeros(1, 1), torch.zeros(3, 1, 1)).item(), 4)
        1.3863
    """
    refuse_empty_scores('infonce_loss', joint, marginal)
    if marginal.shape[1:] != joint.shape:
        raise InputError(
            'infonce_loss compares each score (N, S) with K others (K, N, S), got shapes '
            f'{tuple(joint.shape)} and {tuple(marginal.shape)}'
        )
    joint, marginal = at_least_float32(joint), at_least_float32(marginal)
    # log(1 + sum / e^joint): the logarithm of the quotient would round to 0 for small losses.
    return F.softplus(marginal.logsumexp(0) - joint).mean()
