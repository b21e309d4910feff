from torch import Tensor

from .precision import at_least_float32, root


def standardized_logits(logits: Tensor, eps: float = 1e-7) -> Tensor:
    r"""Return logits of mean 0 and deviation 1 for each image.

    .. math::
        \hat z_{nk} = \frac{z_{nk} - \bar z_n}{\sigma(z_n) + \epsilon}

    in float32 at least. Of logits prepared so, a student need only have the relations between the
    classes: the loss ignores their scale and shift. The temperature of a loss then divides both sides alike.

    Args:
        logits: Class logits, shape ``(N, K)``.
        eps: Added to the deviation; of the public code.

    Returns:
        Shape ``(N, K)``.

    Source: "Logit Standardization in Knowledge Distillation" (Sun et al., CVPR 2024), algorithm 1. The
    deviation is that of a sample, with K - 1 in the denominator, as in the public code.

    Example:
        >>> import torch
        >>> standardized_logits(torch.tensor([[1.0, 2.0, 3.0]]))
        tensor([[-1.0000,  0.0000,  1.0000]])
    """
    logits = at_least_float32(logits)
    centred = logits - logits.mean(-1, keepdim=True)
    variance = centred.square().sum(-1, keepdim=True) / max(logits.shape[-1] - 1, 1)
    # The root of 0 has no gradient: an image whose logits are all equal.
    return centred / (root(variance) + eps)
