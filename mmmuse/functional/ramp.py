import math


def sigmoid_ramp(progress: float) -> float:
    r"""Return the sigmoid-shaped ramp from near 0 to 1.

    .. math::
        r(t) = \exp\big(-5\, (1 - t)^2\big)

    Args:
        progress: t, the completed part of the ramp, clamped to 0 to 1.

    Returns:
        From exp(-5) = 0.0067 to 1.

    Source: "Temporal Ensembling for Semi-Supervised Learning" (Laine and Aila, ICLR 2017).

    Example:
        >>> [round(sigmoid_ramp(t), 4) for t in (0.0, 0.5, 1.0, 2.0)]
        [0.0067, 0.2865, 1.0, 1.0]
    """
    return math.exp(-5 * (1 - min(max(progress, 0.0), 1.0)) ** 2)
