from mmengine.dist import all_reduce, get_world_size
from mmengine.hooks import Hook
from mmengine.optim import OptimWrapper, OptimWrapperDict

from mmmuse.checkpoints.content import GRADIENTS
from mmmuse.errors import InputError
from mmmuse.registry import HOOKS

from .student_checkpoint import unwrapped


@HOOKS.register_module()
class AccumulatedGradientsHook(Hook):
    """Save the gradients of steps that have not updated the weights yet, and restore them on resume.

    They exist with ``optim_wrapper.accumulative_counts`` above 1 where a checkpoint is saved between
    two updates. ``mmmuse train`` adds this hook.
    """

    def __init__(self) -> None:
        self._gradients: dict = {}

    def before_save_checkpoint(self, runner, checkpoint: dict) -> None:
        """Save the gradients."""
        if 'optimizer' in checkpoint and is_accumulating(runner):
            checkpoint[GRADIENTS] = {
                name: weight.grad.cpu()
                for name, weight in unwrapped(runner.model).named_parameters()
                if weight.grad is not None
            }

    def after_load_checkpoint(self, runner, checkpoint: dict) -> None:
        """Keep the gradients of a resumed checkpoint for the first step."""
        gradients = checkpoint.pop(GRADIENTS, {})
        self._gradients = gradients if runner._resume else {}

    def before_train(self, runner) -> None:
        """Restore the gradients.

        Raises:
            InputError: If they are of other weights.
        """
        weights = dict(unwrapped(runner.model).named_parameters())
        for name, gradient in self._gradients.items():
            weight = weights.get(name)
            if weight is None or weight.shape != gradient.shape:
                found = (
                    f'and the model has no weight {name}'
                    if weight is None
                    else f'and the weight has the shape {list(weight.shape)}'
                )
                raise InputError(
                    f'the gradient of {name} in the checkpoint has the shape {list(gradient.shape)}, '
                    f'{found}: resume with the config of the run, or start from the weights with '
                    'load_from'
                )
            weight.grad = gradient.to(weight)
        self._gradients = {}


def is_accumulating(runner) -> bool:
    """Return whether the last step has left gradients for a later update."""
    wrapper = runner.optim_wrapper
    # MMEngine's wrapper of several optimizers is a subclass, and does not count its steps.
    wrappers = wrapper.values() if isinstance(wrapper, OptimWrapperDict) else [wrapper]
    return any(isinstance(each, OptimWrapper) and not each.should_update() for each in wrappers)


def share_gradients(runner) -> None:
    """Average accumulated gradients over the processes, as the update would do later.

    Args:
        runner: The runner of the training process.
    """
    if get_world_size() > 1 and is_accumulating(runner):
        for weight in unwrapped(runner.model).parameters():
            if weight.grad is not None:
                all_reduce(weight.grad, op='mean')
