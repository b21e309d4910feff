from collections.abc import Mapping

from torch import Tensor

OWN_TOTAL = 'own_total'  # Without "loss" in its name, so that MMEngine does not add it to the sum.


def sum_of_losses(losses: Mapping[str, object]) -> Tensor | float:
    """Return the sum of a network's losses, as MMEngine takes it.

    Args:
        losses: Scalars or tensors by name, or lists of them (a detector's levels). Names without
            ``loss`` are metrics and not summed.
    """
    total = 0.0
    for name, value in losses.items():
        if 'loss' in name:
            values = [value] if isinstance(value, Tensor) else value
            total = total + sum(of_level.mean() for of_level in values)
    return total


def with_own_total(losses: dict) -> dict:
    """Add the sum of a network's losses for the log, ``own_total``, if it has several."""
    if sum('loss' in name for name in losses) > 1:
        losses[OWN_TOTAL] = sum_of_losses(losses).detach()
    return losses
