"""The same buffers in every process, as a checkpoint has them."""

from itertools import chain

from mmengine.dist import broadcast, get_world_size
from mmengine.hooks import EMAHook


def share_buffers(runner) -> None:
    """Send the first process's buffers of the model, and of its averages, to all processes.

    The running statistics of batch norm differ between processes, and a checkpoint has those of the
    first.

    Args:
        runner: The runner of the training process.
    """
    if get_world_size() == 1:
        return
    averages = [hook.ema_model for hook in runner.hooks if isinstance(hook, EMAHook)]
    for buffer in chain.from_iterable(model.buffers() for model in (runner.model, *averages)):
        broadcast(buffer.data, src=0)
