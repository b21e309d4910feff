import torch
from torch import Tensor

from .logmeanexp import logmeanexp
from .precision import at_least_float32
from .scores import refuse_empty_scores


def donsker_varadhan_loss(
    joint: Tensor, marginal: Tensor, log_mean_exp: Tensor | None = None
) -> Tensor:
    r"""Return the negated Donsker-Varadhan bound on mutual information.

    .. math::
        L = -\Big( \mathbb{E}_{joint}[T] - \log \mathbb{E}_{marginal}[e^T] \Big)

    With the true expectations, minus the loss is at most the information, with equality if T is
    the logarithm of the density ratio up to a constant. The loss is unbounded below. On a batch the
    gradient of the logarithm is biased, as its denominator is the batch's mean:

    .. math::
        \nabla \log \mathbb{E}[e^T] = \frac{\mathbb{E}[e^T \nabla T]}{\mathbb{E}[e^T]}

    With ``log_mean_exp`` the gradient's denominator is that average over many batches, as in MINE;
    the value is still that of the batch. Computed in float32 at least.

    Args:
        joint: Scores of true pairs, any shape, e.g. ``(N, S)``.
        marginal: Scores of mismatched pairs, any shape, e.g. ``(K, N, S)``.
        log_mean_exp: Logarithm of a moving average of
            :math:`\mathbb{E}_{marginal}[e^T]`, a scalar; None for the batch's.

    Returns:
        A scalar, in nats.

    Raises:
        InputError: If either side is empty.

    Source: "Asymptotic evaluation of certain Markov process expectations for large time, IV"
    (Donsker and Varadhan, 1983); "Mutual Information Neural Estimation" (MINE; Belghazi et al.,
    ICML 2018), theorem 1, and section 3.2 for the gradient.

    Example:
        >>> import torch
        >>> joint, marginal = torch.tensor([[2.0, 0.0]]), torch.tensor([[[-1.0, 0.0]]])
        >>> round(donsker_varadhan_loss(joint, marginal).item(), 4)
        -1.3799
        >>> marginal = torch.tensor([0.0, 0.0], requires_grad=True)
        >>> donsker_varadhan_loss(joint, marginal, torch.tensor(4.0).log()).backward()
        >>> marginal.grad  # e^0 / 2 scores, divided by 4 in place of 1
        tensor([0.1250, 0.1250])
    """
    refuse_empty_scores('donsker_varadhan_loss', joint, marginal)
    log_mean = logmeanexp(marginal)
    if log_mean_exp is not None:
        log_mean = _with_denominator(log_mean, log_mean_exp)
    return log_mean - at_least_float32(joint).mean()


def _with_denominator(log_mean: Tensor, log_mean_exp: Tensor) -> Tensor:
    """Return ``log_mean`` with its gradient divided by another mean in place of its own."""
    value = log_mean.detach()
    ratio = (value - log_mean_exp.detach()).exp()
    ratio = ratio.clamp(max=torch.finfo(ratio.dtype).max)  # Infinity times 0 would be NaN.
    return value + ratio * (log_mean - value)
