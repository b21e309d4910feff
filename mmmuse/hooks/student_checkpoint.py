from mmengine.hooks import Hook
from mmengine.model import BaseTTAModel, is_model_wrapper
from torch import nn

from mmmuse.checkpoints.state_dicts import (
    AVERAGES_KEY,
    DISTILLER_AVERAGES_KEY,
    DISTILLER_KEY,
    check_same,
    join_averages,
    split_averages,
    split_state_dict,
    with_current_names,
    with_distiller_names,
    with_plain_names,
)
from mmmuse.distillers import BaseDistiller, FeatureDistiller
from mmmuse.errors import InputError
from mmmuse.losses import DistillLoss
from mmmuse.optim.separate_clipping import clip_separately
from mmmuse.optim.student_constructor import check_constructor
from mmmuse.registry import HOOKS

from .checked_checkpoint import (
    check_loaded,
    check_optimizer,
    check_some_are_used,
    is_fine_tuning,
    name_of_file,
)
from .parts_by_name import check_parts_by_name
from .student_config import StudentConfigHook


@HOOKS.register_module()
class StudentCheckpointHook(Hook):
    """Save the student under its own names, so that a plain config can load the file.

    ``state_dict`` has the student's weights only; those of neck, head and critics are saved under
    ``distiller`` and restored on resume. With ``EMAHook`` both are the averaged ones, as in
    MMEngine; the weights that were not averaged are saved in the same way, under ``ema_state_dict``
    and ``distiller_ema``. The hook has no effect on models that are not distillers.

    Raises:
        InputError: On resuming or testing, if the weights are of another network; on resuming,
            also if exits or critics differ. The message names the tensors.
    """

    # Before other hooks for a loaded file; _SplitStudentHook runs after them for a saved one.
    priority = 'VERY_HIGH'

    def before_run(self, runner) -> None:
        """Register the hooks that run when a checkpoint is saved, and check what else the run has.

        The student's gradients are clipped apart from the others.
        """
        for kind in (_SplitStudentHook, StudentConfigHook):
            if distiller_of(runner) and not any(isinstance(hook, kind) for hook in runner.hooks):
                runner.register_hook(kind(), priority='LOWEST')
        if (model := distiller_of(runner)) is not None:
            check_parts_by_name(runner, model)
            check_constructor(runner.cfg.get('optim_wrapper'), runner.optim_wrapper)
            clip_separately(runner.optim_wrapper, model)

    def after_train(self, runner) -> None:
        """Note that the averaged weights of an EMA, a copy of the distiller, are trained."""
        for hook in runner.hooks:
            average = getattr(getattr(hook, 'ema_model', None), 'module', None)
            if isinstance(average, BaseDistiller):
                average.added_weights.trained = True

    def after_load_checkpoint(self, runner, checkpoint: dict) -> None:
        """Join the student's weights and the others under the distiller's names."""
        model = distiller_of(runner)
        if model is None:
            return
        check_loaded(runner, checkpoint)
        file = name_of_file(runner)
        weights = checkpoint.get('state_dict', checkpoint)
        weights = with_distiller_names(weights)
        own, own_rest = split_state_dict(model.state_dict())
        if is_fine_tuning(runner):  # The head may have other classes.
            check_some_are_used(own, weights, file)
        else:
            check_same('network', own, split_state_dict(weights)[0], file)
        rest = checkpoint.get(DISTILLER_KEY)
        if AVERAGES_KEY in checkpoint:
            others = checkpoint.get(DISTILLER_AVERAGES_KEY) or {}
            if others and not is_fine_tuning(runner) and not runner._resume:
                others = for_test(model, others, file)
            checkpoint[AVERAGES_KEY] = join_averages(checkpoint[AVERAGES_KEY], others)
        if rest is not None:
            with_current_names(rest)
            if runner._resume:
                check_same('neck or head', own_rest, rest, file)
            elif not is_fine_tuning(runner):
                used = for_test(model, rest, file)
                if used is not rest:
                    runner.logger.info(
                        'The critics in the checkpoint are of another size; a test does not use them.'
                    )
                rest = used
            weights.update(rest)
        elif runner._resume:
            raise InputError(
                f"{file} holds only the student's weights, so training cannot be resumed "
                'from it; start from its weights with load_from instead of --resume'
            )
        elif own_rest:
            runner.logger.warning(
                "The checkpoint holds only the student's weights: exits and critics start untrained."
            )
        check_some_are_used(model.state_dict(), weights, file)
        check_optimizer(runner, checkpoint)
        checkpoint['state_dict'] = weights


def for_test(model: BaseDistiller, weights: dict, file: str) -> dict:
    """Return the weights that a test loads beside the student's.

    What belongs to a loss, such as its critics, is not used in a test, and may be of another size in the file. A
    ``FeatureDistiller`` uses it, for the loss on the test images.

    Args:
        model: That is tested.
        weights: Of the file.
        file: Its name, for the message.

    Returns:
        Those of the file, with the model's own for losses that differ.

    Raises:
        InputError: If other weights are of another shape.
    """
    own = split_state_dict(model.state_dict())[1]
    losses = [
        f'{name}.' for name, part in model.named_modules() if isinstance(part, DistillLoss)
    ] * (not isinstance(model, FeatureDistiller))
    of_losses = {name for name in own.keys() | weights.keys() if name.startswith(tuple(losses))}
    differ = [
        name for name in own.keys() & weights.keys() if own[name].shape != weights[name].shape
    ]
    if used := [name for name in differ if name not in of_losses]:
        check_same(
            'neck or head',
            *({name: side[name] for name in used} for side in (own, weights)),
            file,
        )
    if not of_losses & (set(differ) | (own.keys() ^ weights.keys())):
        return weights
    kept = {name: value for name, value in weights.items() if name not in of_losses}
    return {**kept, **{name: own[name] for name in of_losses & own.keys()}}


class _SplitStudentHook(Hook):
    priority = 'LOWEST'

    def before_save_checkpoint(self, runner, checkpoint: dict) -> None:
        model = distiller_of(runner)
        if model is None:
            return
        model.check_finite()
        weights = checkpoint['state_dict']
        checkpoint['state_dict'] = with_plain_names(weights)
        checkpoint[DISTILLER_KEY] = split_state_dict(weights)[1]
        if AVERAGES_KEY in checkpoint:
            student, others = split_averages(checkpoint[AVERAGES_KEY])
            checkpoint |= {AVERAGES_KEY: student, DISTILLER_AVERAGES_KEY: others}


def distiller_of(runner) -> BaseDistiller | None:
    """Return the distiller that a runner trains or tests, without DDP; None for any other model."""
    model = unwrapped(runner.model)
    return model if isinstance(model, BaseDistiller) else None


def unwrapped(model: nn.Module) -> nn.Module:
    """Return a runner's model without DDP and without test-time augmentation."""
    while is_model_wrapper(model) or isinstance(model, BaseTTAModel):
        model = model.module
    return model
