import torch.nn.functional as F
from torch import Tensor

from .precision import at_least_float32
from .scores import refuse_empty_scores


def jsd_critic_loss(joint: Tensor, marginal: Tensor) -> Tensor:
    r"""Return the negated Jensen-Shannon estimate of mutual information.

    .. math::
        L^{JSD} = \mathbb{E}_{marginal}[\mathrm{sp}(T)]
                + \mathbb{E}_{joint}[\mathrm{sp}(-T)],
        \qquad \mathrm{sp}(x) = \log(1 + e^x)

    It is positive, decreases with the shared information, and is :math:`2 \log 2` for an uninformed
    critic (all scores 0). Computed in float32 at least.

    Args:
        joint: Scores of true pairs, any shape, e.g. ``(N, L)``.
        marginal: Scores of mismatched pairs, any shape.

    Returns:
        A scalar, in nats (up to the constant :math:`2 \log 2`).

    Raises:
        InputError: If either side is empty.

    Source: MUSE (Gong et al., BMVC 2021), equation 5; Deep InfoMax (Hjelm et
    al., ICLR 2019), equation 4.

    Example:
        >>> import torch
        >>> joint, marginal = torch.tensor([[2.0, 0.0]]), torch.tensor([[-1.0, 0.0]])
        >>> round(jsd_critic_loss(joint, marginal).item(), 4)
        0.9132
        >>> round(jsd_critic_loss(torch.zeros(3), torch.zeros(5)).item(), 4)
        1.3863
    """
    refuse_empty_scores('jsd_critic_loss', joint, marginal)
    joint, marginal = at_least_float32(joint), at_least_float32(marginal)
    return F.softplus(marginal).mean() + F.softplus(-joint).mean()
