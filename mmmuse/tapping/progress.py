"""The progress of training by MMEngine's runner, for weights that change with it."""

from mmengine.logging import MessageHub

from mmmuse.compat.compiling import not_compiled
from mmmuse.errors import InputError


@not_compiled  # It would be a constant in the graph.
def training_progress() -> float:
    """Return the completed part of the training, from 0 to 1.

    It is the iteration divided by the number of iterations, as counted by MMEngine's runner, also
    in a resumed run, and in epoch-based and iteration-based loops.

    Returns:
        0 in the first step, 1 - 1 / max_iters in the last; 1 without a runner in this process (in a
        custom training loop), so that ramps have their final weight.
    """
    hub = MessageHub.get_current_instance()
    max_iters = hub.get_info('max_iters', None)
    if not max_iters:
        return 1.0
    return min(hub.get_info('iter', 0) / max_iters, 1.0)


def warmed_up(weight: float, warmup: float) -> float:
    """Return a weight with a linear warm-up over the first part of the training.

    Args:
        weight: Final value.
        warmup: That part, 0 to 1; 0 for no warm-up.
    """
    return weight * min(training_progress() / warmup, 1.0) if warmup else weight


@not_compiled
def training_epoch(reader: str) -> tuple[int, int]:
    """Return the epoch, from 0, and the number of epochs.

    Args:
        reader: Name of the caller, for the message.

    Raises:
        InputError: Without MMEngine's runner, in its iteration-based loop (which reports one
            epoch), or in a run of one epoch.
    """
    hub = MessageHub.get_current_instance()
    max_epochs = hub.get_info('max_epochs', None)
    if max_epochs is None or max_epochs < 2:
        raise InputError(
            f"{reader} counts epochs and needs at least two: train with MMEngine's runner and "
            'train_cfg=dict(by_epoch=True, max_epochs=...)'
        )
    return hub.get_info('epoch', 0), max_epochs


@not_compiled
def training_iteration(reader: str) -> tuple[int, int]:
    """Return the iteration, from 0, and the number of iterations.

    Args:
        reader: Name of the caller, for the message.

    Raises:
        InputError: Without MMEngine's runner.
    """
    hub = MessageHub.get_current_instance()
    max_iters = hub.get_info('max_iters', None)
    if not max_iters:
        raise InputError(f"{reader} counts iterations: train with MMEngine's runner")
    return hub.get_info('iter', 0), max_iters
