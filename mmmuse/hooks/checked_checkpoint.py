from typing import Any

from mmengine.hooks import Hook
from mmengine.model import BaseTTAModel, is_model_wrapper
from mmengine.runner import BaseLoop, EpochBasedTrainLoop

from mmmuse.checkpoints.content import (
    check_not_after_end,
    check_resumable,
    check_weights,
    without_programs,
)
from mmmuse.checkpoints.state_dicts import check_same, kind_of
from mmmuse.errors import InputError, first_line
from mmmuse.registry import HOOKS


@HOOKS.register_module()
class CheckedCheckpointHook(Hook):
    """Refuse a checkpoint that a plain network would load only in part, or could not resume from.

    MMEngine warns of weights that are missing and goes on with random ones. In a test or a resumed
    run the file has every parameter of the model; training may start from some of them. A file to
    resume from has epoch, iteration, message hub and optimizer of such a run. The tools add this
    hook to runs of plain networks; for distillers :class:`StudentCheckpointHook` does the same.

    Raises:
        InputError: On loading or resuming, if the file does not fit.
    """

    priority = 'VERY_HIGH'

    def after_load_checkpoint(self, runner, checkpoint: dict) -> None:
        """Check a file before MMEngine loads its weights."""
        check_loaded(runner, checkpoint)
        model = runner.model.module if is_model_wrapper(runner.model) else runner.model
        if isinstance(model, BaseTTAModel):  # As MMEngine does.
            model = model.module
        weights = {
            name.removeprefix('module.'): value  # As MMEngine does.
            for name, value in checkpoint.get('state_dict', checkpoint).items()
        }
        file = name_of_file(runner)
        check_some_are_used(model.state_dict(), weights, file)
        if is_fine_tuning(runner):
            return
        parameters = {name for name, _ in model.named_parameters()}
        try:
            missing = model.load_state_dict(weights, strict=False).missing_keys
        except RuntimeError as error:
            _check_shapes(model.state_dict(), weights, parameters, file)
            raise InputError(f'{file} is of another network: {first_line(error)}') from error
        missing = parameters & set(missing)
        own = model.state_dict()
        check_same('network', {name: own[name] for name in missing}, {}, file)
        check_optimizer(runner, checkpoint)


def name_of_file(runner) -> str:
    """Return the path of the checkpoint that a runner is loading, as far as it is known: no hook receives it."""
    path = None if getattr(runner, '_has_loaded', True) else getattr(runner, '_load_from', None)
    return path or 'the checkpoint'


def _check_shapes(model: dict, weights: dict, parameters: set[str], file: str) -> None:
    """Check the shapes of the weights that a model has in common with a file, and that all its parameters are there."""
    own = {name: value for name, value in model.items() if name in weights or name in parameters}
    check_same('network', own, {name: weights[name] for name in own if name in weights}, file)


def is_fine_tuning(runner) -> bool:
    """Return whether a runner trains from loaded weights, which may be those of a part."""
    return isinstance(runner._train_loop, BaseLoop) and not runner._resume


def check_loaded(runner, checkpoint: dict) -> None:
    """Check a loaded checkpoint, and remove text that MMEngine would run as a config.

    Raises:
        InputError: If it has no weights, or a run cannot be resumed from it.
    """
    without_programs(checkpoint)
    file = name_of_file(runner)
    check_weights(checkpoint, file)
    if not runner._resume:
        return
    check_resumable(checkpoint, file)
    loop = runner._train_loop
    if isinstance(loop, BaseLoop):
        by_epoch = isinstance(loop, EpochBasedTrainLoop)
        key, end = ('epoch', loop.max_epochs) if by_epoch else ('iter', loop.max_iters)
        check_not_after_end(checkpoint, key, end, file)


def check_optimizer(runner, checkpoint: dict) -> None:
    """Check that the optimizer in a checkpoint to resume from is of as many parameters.

    Raises:
        InputError: If it is not.
    """
    if not runner._resume or not hasattr(getattr(runner, 'optim_wrapper', None), 'state_dict'):
        return
    own, found = (
        _sizes_of_groups(state)
        for state in (runner.optim_wrapper.state_dict(), checkpoint['optimizer'])
    )
    if own != found:
        raise InputError(
            f'{name_of_file(runner)} has an optimizer of another model or config: its groups have {found} '
            f'parameters, those of this run {own}; start from its weights with load_from '
            'instead of --resume'
        )


def _sizes_of_groups(saved: dict) -> Any:
    """Return the number of parameters in each group of one optimizer, or of several by name."""
    if 'param_groups' in saved:
        return [len(group['params']) for group in saved['param_groups']]
    return {
        name: _sizes_of_groups(state) for name, state in saved.items() if isinstance(state, dict)
    }


def check_some_are_used(model: dict, weights: dict, file: str) -> None:
    """Check that a file has weights of a model, with numbers of the same kind.

    Args:
        model: State dict of the model.
        weights: Of the file.
        file: Its path, for the message.

    Raises:
        InputError: If no tensor of the file has name and shape of one of the model, or one has
            another kind of numbers.
    """
    common = [
        name
        for name, value in weights.items()
        if name in model and model[name].shape == value.shape
    ]
    if not common:
        raise InputError(
            f'{file} is of another network: none of its {len(weights)} tensors has the name and '
            f'shape of one in the model; its first is {next(iter(weights))}'
        )
    for name in common:
        found, own = kind_of(weights[name]), kind_of(model[name])
        if found != own:
            raise InputError(
                f'{file} is of another network: {name} is {found} in the file and {own} in the model'
            )
