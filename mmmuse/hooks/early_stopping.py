from math import isnan
from typing import Any

from mmengine.hooks import EarlyStoppingHook, Hook

from mmmuse.checkpoints.content import is_float_with_count
from mmmuse.errors import InputError

_COUNTS = 'early_stopping'  # In the message hub, and so in the checkpoint.


class EarlyStoppingCountsHook(Hook):
    """Save what MMEngine's ``EarlyStoppingHook`` has counted, and restore it on resume.

    Without it, a resumed run stops later than an uninterrupted one. Whether a resumed run has already
    stopped is decided by its own config, so that a larger ``patience`` lets it go on.

    ``mmmuse train`` adds this hook, by :func:`keep_early_stopping`.

    Args:
        hooks: The hooks that stop the run. They count before this hook is called.
    """

    priority = 'LOW'

    def __init__(self, hooks: list[EarlyStoppingHook]) -> None:
        self._hooks = hooks

    def after_val_epoch(self, runner, metrics: dict[str, float] | None = None) -> None:
        """Note the counts in the message hub."""
        counts = {hook.monitor: (float(hook.best_score), hook.wait_count) for hook in self._hooks}
        runner.message_hub.update_info(_COUNTS, counts)

    def before_train(self, runner) -> None:
        """Restore the counts of a resumed run, and stop a run that had stopped.

        Raises:
            InputError: If the checkpoint has no such counts.
        """
        saved = runner.message_hub.get_info(_COUNTS, {}) if runner._resume else {}
        if not isinstance(saved, dict) or not all(map(_is_count, saved.values())):
            raise InputError(
                f'the checkpoint has no (best score, number of evaluations) in {_COUNTS!r}: resume '
                'from another one, or start from its weights with load_from'
            )
        for hook in self._hooks:
            if hook.monitor not in saved:
                continue
            hook.best_score, hook.wait_count = saved[hook.monitor]
            if hook.wait_count >= hook.patience or _is_threshold_reached(hook):
                runner.train_loop.stop_training = True
                runner.logger.info(f'This run has stopped: EarlyStoppingHook on {hook.monitor}')


def keep_early_stopping(runner) -> None:
    """Let a runner's checkpoints hold the counts of its early stopping.

    Args:
        runner: The runner, before its training starts.
    """
    stopping = [hook for hook in runner.hooks if isinstance(hook, EarlyStoppingHook)]
    if not stopping or any(isinstance(hook, EarlyStoppingCountsHook) for hook in runner.hooks):
        return
    for hook in stopping:
        # Before the hook that saves the best checkpoint.
        runner.hooks.remove(hook)
        runner.register_hook(hook, priority='LOW')
    runner.register_hook(EarlyStoppingCountsHook(stopping))


def _is_threshold_reached(hook: EarlyStoppingHook) -> bool:
    threshold = hook.stopping_threshold
    return threshold is not None and bool(hook.rule_map[hook.rule](hook.best_score, threshold))


def _is_count(value: Any) -> bool:
    return is_float_with_count(value) and not isnan(value[0]) and value[1] >= 0
