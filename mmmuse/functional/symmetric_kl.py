from torch import Tensor

from .kd import kd_loss


def symmetric_kl(first: Tensor, second: Tensor, temperature: float) -> Tensor:
    r"""Return the distillation loss of two sets of logits, each towards the other.

    .. math::
        L = \tau^2 \, \big[ \mathrm{KL}(p \,\|\, q) + \mathrm{KL}(q \,\|\, p) \big],
        \quad p = \mathrm{softmax}(z_1 / \tau), \; q = \mathrm{softmax}(z_2 / \tau)

    averaged over the batch, in float32 at least. In each term the first
    distribution is a fixed target, so each side receives the gradient of one term.

    Args:
        first: :math:`z_1`, shape ``(N, K)``.
        second: :math:`z_2`, shape ``(N, K)``.
        temperature: :math:`\tau > 0`.

    Returns:
        A scalar, in nats.

    Raises:
        InputError: If the shapes differ or the temperature is not positive.

    Source: "Data-Distortion Guided Self-Distillation for Deep Neural Networks" (Xu and Liu, AAAI
    2019). That the targets are fixed is assumed; it is what public code of the method does.

    Example:
        >>> import torch
        >>> first, second = torch.tensor([[1.0, 0.0]]), torch.tensor([[3.0, 0.0]])
        >>> round(symmetric_kl(first, second, temperature=2.0).item(), 4)
        0.7805
    """
    return kd_loss(first, second, temperature) + kd_loss(second, first, temperature)
