from mmengine.hooks import Hook
from mmengine.runner import EpochBasedTrainLoop, IterBasedTrainLoop

from mmmuse.registry import HOOKS

from .step_seed import BATCHES_DONE

_EVALUATED = 'evaluated_iter'  # In the message hub, and so in the checkpoint.


@HOOKS.register_module()
class PendingEvaluationHook(Hook):
    """Evaluate a resumed checkpoint whose evaluation was due when it was saved.

    MMEngine saves before it evaluates, so a run that was killed in between would lack the
    evaluation, and ``best_*`` with it. A checkpoint that was saved again after its evaluation, since
    it was the best one, is not evaluated twice, unless no step is left to train.

    ``mmmuse train`` adds this hook.
    """

    # In before_train after all hooks; in after_val_epoch before the one that saves the best.
    priority = 'LOW'

    def __init__(self) -> None:
        self._within_epoch = False

    def before_run(self, runner) -> None:
        """Register the hook that evaluates, which runs after all others."""
        if not any(isinstance(hook, _Evaluate) for hook in runner.hooks):
            runner.register_hook(_Evaluate(self))

    def after_load_checkpoint(self, runner, checkpoint: dict) -> None:
        """Note whether the checkpoint was saved within an epoch."""
        self._within_epoch = bool(checkpoint.get('meta', {}).get(BATCHES_DONE))

    def after_val_epoch(self, runner, metrics: dict[str, float] | None = None) -> None:
        """Note in the message hub what was evaluated."""
        runner.message_hub.update_info(_EVALUATED, runner.iter)

    def is_due(self, runner) -> bool:
        """Return whether the state of a resumed run was to be evaluated and was not."""
        if not runner._resume or runner.iter == 0 or runner.val_loop is None or self._within_epoch:
            return False
        loop = runner.train_loop
        if isinstance(loop, EpochBasedTrainLoop):
            done, total = loop.epoch, loop.max_epochs
        elif isinstance(loop, IterBasedTrainLoop):
            done, total = loop.iter, loop.max_iters
        else:
            return False
        loop._decide_current_val_interval()
        due = done >= loop.val_begin and (done % loop.val_interval == 0 or done == total)
        evaluated = runner.message_hub.get_info(_EVALUATED, None) == runner.iter
        return due and (not evaluated or done >= total)


class _Evaluate(Hook):
    priority = 'LOWEST'

    def __init__(self, pending: PendingEvaluationHook) -> None:
        self._pending = pending

    def before_train(self, runner) -> None:
        if self._pending.is_due(runner):
            runner.logger.info('Evaluating the resumed checkpoint, as it was due when it was saved')
            # As they are in an evaluation after training; the next epoch sets them.
            by_epoch = isinstance(runner.train_loop, EpochBasedTrainLoop)
            runner.message_hub.update_info('epoch', runner.epoch - by_epoch)
            runner.message_hub.update_info('iter', runner.iter - 1)
            runner.val_loop.run()
