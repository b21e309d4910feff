from torch import Tensor

from .logmeanexp import logmeanexp
from .precision import at_least_float32
from .scores import refuse_empty_scores


def nwj_loss(joint: Tensor, marginal: Tensor) -> Tensor:
    r"""Return the negated bound of Nguyen, Wainwright and Jordan on mutual information.

    .. math::
        L = -\Big( \mathbb{E}_{joint}[T] - e^{-1}\, \mathbb{E}_{marginal}[e^T] \Big)

    Minus the loss is, on average over batches, at most the information, with equality if T is one
    more than the logarithm of the density ratio. The loss is unbounded below, and the mean of
    exponentials has a high variance if the information is large. Computed in float32 at least.

    Args:
        joint: Scores of true pairs, any shape, e.g. ``(N, S)``.
        marginal: Scores of mismatched pairs, any shape, e.g. ``(K, N, S)``.

    Returns:
        A scalar, in nats.

    Raises:
        InputError: If either side is empty.

    Source: "Estimating divergence functionals and the likelihood ratio by convex risk minimization"
    (Nguyen, Wainwright and Jordan, IEEE Transactions on Information Theory, 2010); in this form in
    "On variational bounds of mutual information" (Poole et al., ICML 2019), section 2.

    Example:
        >>> import torch
        >>> joint, marginal = torch.tensor([[2.0, 0.0]]), torch.tensor([[[-1.0, 0.0]]])
        >>> round(nwj_loss(joint, marginal).item(), 4)
        -0.7484
        >>> nwj_loss(torch.ones(3), torch.ones(5)).item()  # uninformed critic
        0.0
    """
    refuse_empty_scores('nwj_loss', joint, marginal)
    # In logarithms: e^-1 is applied before the exponential could overflow.
    return (logmeanexp(marginal) - 1).exp() - at_least_float32(joint).mean()
