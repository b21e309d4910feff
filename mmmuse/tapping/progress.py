"""How far the training of MMEngine's runner has come, for what changes with it."""

import torch
from mmengine.logging import MessageHub

from mmmuse.errors import InputError


@torch.compiler.disable  # A number that a graph would keep as it was in the first step.
def training_progress() -> float:
    """Return the part of the training that lies behind, from 0 to 1.

    It is the iteration over the number of iterations, as MMEngine's runner
    counts them: also on resuming, and in loops by epoch and by iteration alike.

    Returns:
        0 in the first step, 1 - 1 / max_iters in the last. Where no runner has
        counted in this process (a training loop of one's own) it is 1: what is
        ramped up has its full weight.
    """
    hub = MessageHub.get_current_instance()
    max_iters = hub.get_info('max_iters', None)
    if not max_iters:
        return 1.0
    return min(hub.get_info('iter', 0) / max_iters, 1.0)


def warmed_up(weight: float, warmup: float) -> float:
    """Return a weight that rises linearly over the first part of the training.

    Args:
        weight: What it rises to, from 0.
        warmup: That part, 0 to 1; 0 for none.
    """
    return weight * min(training_progress() / warmup, 1.0) if warmup else weight


@torch.compiler.disable
def training_epoch(reader: str) -> tuple[int, int]:
    """Return the epoch, from 0, and the number of epochs, for a method that has to count them.

    Args:
        reader: What asks, for the message.

    Raises:
        InputError: Where nothing counts more than one epoch: outside of
            MMEngine's runner, in its iteration-based loop (which gives the
            number of epochs as 1), or in a run of one epoch.
    """
    hub = MessageHub.get_current_instance()
    max_epochs = hub.get_info('max_epochs', None)
    if max_epochs is None or max_epochs < 2:
        raise InputError(
            f"{reader} counts epochs and needs at least two: train with MMEngine's runner and "
            'train_cfg=dict(by_epoch=True, max_epochs=...)'
        )
    return hub.get_info('epoch', 0), max_epochs
