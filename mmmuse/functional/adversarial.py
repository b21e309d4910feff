import torch
import torch.nn.functional as F
from torch import Tensor

from .precision import at_least_float32
from .scores import refuse_empty_scores


def discriminator_loss(first: Tensor, second: Tensor) -> Tensor:
    r"""Return the binary cross-entropy of a discriminator between two sets of features.

    .. math::
        L = \mathbb{E}_{first}[-\log \mathrm{sigmoid}(D)]
          + \mathbb{E}_{second}[-\log(1 - \mathrm{sigmoid}(D))]

    in float32 at least. The optimal discriminator reaches :math:`2 \log 2 - 2\, \mathrm{JS}`, with
    JS the Jensen-Shannon divergence of the two distributions (natural logarithm): :math:`2 \log 2 =
    1.3863` where they are the same. The features are trained to increase the loss.

    Args:
        first: Scores (logits) of features labelled 1, any shape.
        second: Scores of features labelled 0, any shape.

    Returns:
        A scalar, in nats.

    Raises:
        InputError: If either side is empty.

    Source: "Generative Adversarial Nets" (Goodfellow et al., NeurIPS 2014),
    equation 1 and theorem 1.

    Example:
        >>> import torch
        >>> round(discriminator_loss(torch.tensor([2.0]), torch.tensor([-1.0])).item(), 4)
        0.4402
    """
    refuse_empty_scores('discriminator_loss', first, second)
    first, second = at_least_float32(first), at_least_float32(second)
    return F.binary_cross_entropy_with_logits(
        first, torch.ones_like(first)
    ) + F.binary_cross_entropy_with_logits(second, torch.zeros_like(second))
