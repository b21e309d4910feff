from mmengine.hooks import Hook

from mmmuse.environment.freed_memory import keep_freed_memory
from mmmuse.registry import HOOKS


@HOOKS.register_module()
class KeptMemoryHook(Hook):
    """On a CPU, keep freed memory for the next step instead of returning it to the system.

    Saves the page faults of a step; the memory of the process does not shrink before it ends. It
    does nothing on a GPU, with another allocator than glibc's, and with ``MMMUSE_KEEP_MEMORY=0`` in
    the environment. Workers of the data loader that are forked inherit it, and each process of a
    distributed training sets it.

    ``mmmuse train`` adds this hook.
    """

    priority = 'VERY_HIGH'

    def before_train(self, runner) -> None:
        """Set the options of malloc, before the workers of the data loader start."""
        if any(parameter.device.type != 'cpu' for parameter in runner.model.parameters()):
            return
        if keep_freed_memory():
            runner.logger.info(
                'Freed memory is kept for the next step (set MMMUSE_KEEP_MEMORY=0 to disable).'
            )
