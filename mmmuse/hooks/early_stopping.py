from typing import Any

from mmengine.hooks import EarlyStoppingHook, Hook

from mmmuse.checkpoints.content import is_float_with_count
from mmmuse.errors import InputError

_STATES = 'early_stopping'  # In the message hub, and so in the checkpoint.


class EarlyStoppingStateHook(Hook):
    """Save the state of MMEngine's ``EarlyStoppingHook``, and restore it on resume.

    Without it, a resumed run stops later than an uninterrupted one. The state is that before the last
    evaluation, with its score: the hook of the resumed run decides again whether that score stops the
    run, so a run that had stopped goes on with a larger ``patience``.

    ``mmmuse train`` adds this hook, by :func:`keep_early_stopping`.

    Args:
        hooks: The hooks that stop the run.
    """

    priority = 'LOW'  # Before the hook that saves the best checkpoint.

    def __init__(self, hooks: list[EarlyStoppingHook]) -> None:
        self._hooks = hooks
        self._before: list[tuple[str, float, int]] = []

    def before_val_epoch(self, runner) -> None:
        """Note the state before an evaluation."""
        self._before = [
            (hook.monitor, float(hook.best_score), hook.wait_count) for hook in self._hooks
        ]

    def after_val_epoch(self, runner, metrics: dict[str, float] | None = None) -> None:
        """Put the state before the evaluation, and its scores, into the message hub."""
        scores = metrics or {}
        states = [
            (*state, float(scores[state[0]]) if state[0] in scores else None)
            for state in self._before
        ]
        runner.message_hub.update_info(_STATES, states)

    def before_train(self, runner) -> None:
        """Restore the state of a resumed run, and stop a run that had stopped.

        Raises:
            InputError: If what the checkpoint has is not such a state.
        """
        saved = runner.message_hub.get_info(_STATES, []) if runner._resume else []
        if not isinstance(saved, list) or not all(map(_is_state, saved)):
            raise InputError(
                f'{_STATES!r} of the checkpoint is {saved!r}, not a list of (metric, best score, '
                'evaluations without improvement, last score): resume from another checkpoint, or start '
                'from its weights with load_from'
            )
        left = list(saved)
        for hook in self._hooks:
            state = next((each for each in left if each[0] == hook.monitor), None)
            if state is None:
                continue
            left.remove(state)  # Two hooks can have the same metric.
            _, hook.best_score, hook.wait_count, score = state
            stops, reason = (False, '') if score is None else hook._check_stop_condition(score)
            if stops:
                runner.train_loop.stop_training = True
                runner.logger.info(f'EarlyStoppingHook stops this run: {reason}')


def keep_early_stopping(runner) -> None:
    """Let a runner's checkpoints hold the state of its early stopping.

    Args:
        runner: The runner, before its training starts.
    """
    stopping = [hook for hook in runner.hooks if isinstance(hook, EarlyStoppingHook)]
    if not stopping or any(isinstance(hook, EarlyStoppingStateHook) for hook in runner.hooks):
        return
    runner.register_hook(EarlyStoppingStateHook(stopping))


def _is_state(value: Any) -> bool:
    if not isinstance(value, (tuple, list)) or len(value) != 4:
        return False
    monitor, best, count, score = value
    return (
        isinstance(monitor, str)
        and is_float_with_count((best, count))
        and count >= 0
        and (score is None or isinstance(score, float))
    )
