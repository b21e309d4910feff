import os
import signal
import threading
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any, Literal

import torch
import torch.distributed as torch_dist
from mmengine.dist import get_comm_device, get_world_size, is_main_process
from mmengine.hooks import Hook

from mmmuse.checkpoints.synced_write import SYNCED
from mmmuse.errors import Stopped
from mmmuse.registry import HOOKS

from .accumulated_gradients import share_gradients
from .safe_checkpoint import PREEMPTED, note_last_checkpoint, note_outdated
from .shared_buffers import share_buffers

SignalName = Literal['SIGTERM', 'SIGINT', 'SIGHUP', 'SIGUSR1', 'SIGUSR2']


@HOOKS.register_module()
class PreemptionHook(Hook):
    """Save a checkpoint at the end of the current step, and stop, when a signal arrives.

    ``--resume`` continues with the next step, within the epoch
    (:class:`mmmuse.hooks.StepSeedHook`); the exception is ``PSKDDistiller``, whose copy of the last
    epoch's network is then one of the saved weights. The file, ``preempted.pth`` in the work dir,
    is removed when ``SafeCheckpointHook`` saves the next one. A signal that arrives during an
    evaluation stops a single process at once if there is nothing to save, or else when the evaluation
    ends. A second signal stops the run at once.

    Of several processes all stop after the same step, as soon as one has received a signal. In a
    config: ``custom_hooks = [dict(type='mmmuse.PreemptionHook')]``.

    Args:
        signals: Names of the signals.

    Raises:
        InputError: If a name is not one of these signals.
    """

    # After the hook that saves regular checkpoints.
    priority = 'LOWEST'

    def __init__(self, signals: Sequence[SignalName] = ('SIGTERM', 'SIGINT', 'SIGHUP')) -> None:
        self.signals = [signal.Signals[name] for name in signals]
        self._received = 0
        self._before: dict[int, Any] = {}
        self._agreed: torch.Tensor | None = None
        self._saved_iter = -1
        self._evaluating = self._saving = False

    def before_train(self, runner) -> None:
        """Install the handlers, and take the data loaders' workers out of the process group."""
        # A signal that is sent to the whole group must not stop the workers of the last step, or of
        # an evaluation after which a checkpoint is saved.
        for loop in (runner.train_loop, runner.val_loop):
            if loop is not None:
                loader = loop.dataloader
                loader.worker_init_fn = partial(_leave_group, loader.worker_init_fn)
        if threading.current_thread() is threading.main_thread():
            for number in self.signals:
                self._before[number] = signal.signal(number, self._receive)
        self._saved_iter = runner.iter if runner._resume else -1

    def _receive(self, number: int, frame: Any) -> None:
        self._received = number
        self._restore_handlers()  # A second signal stops the run at once.
        if self._evaluating and get_world_size() == 1:
            raise Stopped(number)

    def _restore_handlers(self) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)
        self._before = {}

    def before_save_checkpoint(self, runner, checkpoint: dict) -> None:
        """Note that this step can be resumed, and that an earlier preemption is outdated."""
        if 'optimizer' not in checkpoint:
            return
        self._saved_iter = checkpoint['meta']['iter']
        if not self._saving:
            note_outdated(runner, [str(Path(runner.work_dir) / PREEMPTED)])

    def before_val_epoch(self, runner) -> None:
        """Allow a signal to stop the run at once if there is nothing to save."""
        self._evaluating = self._saved_iter == runner.iter

    def after_val_epoch(self, runner, metrics: dict[str, float] | None = None) -> None:
        """Stop if a signal arrived during the evaluation."""
        self._evaluating = False
        if number := self._any_received(now=True):
            if not self._is_saved(runner.iter):
                self._save(runner, dict(epoch=runner.epoch, iter=runner.iter))
            raise Stopped(number, finished=True)

    def after_train_iter(self, runner, batch_idx: int, data_batch=None, outputs=None) -> None:
        """Save and stop if a signal arrived in any process."""
        number = self._any_received()
        if not number:
            return
        if not self._is_saved(runner.iter + 1):
            self._save(runner, dict(epoch=runner.epoch, iter=runner.iter + 1))
        raise Stopped(number, finished=True)

    def after_run(self, runner) -> None:
        """Restore the handlers of signals."""
        self._restore_handlers()

    def _any_received(self, now: bool = False) -> int:
        """Return the number of a signal that any process has received.

        During training, the answer of several processes is that of the step before, for which no
        device has to be waited for.
        """
        if get_world_size() == 1:
            return self._received
        before = self._agreed
        self._agreed = torch.tensor(self._received, device=get_comm_device())
        torch_dist.all_reduce(self._agreed, torch_dist.ReduceOp.MAX)
        chosen = self._agreed if now else before
        return 0 if chosen is None else int(chosen)

    def _is_saved(self, step: int) -> bool:
        """Return whether a step was saved, which only the first process knows."""
        saved = torch.tensor(int(self._saved_iter == step))
        if get_world_size() > 1:
            saved = saved.to(get_comm_device())
            torch_dist.broadcast(saved, 0)
        return bool(saved)

    def _save(self, runner, meta: dict) -> None:
        share_buffers(runner)
        share_gradients(runner)
        self._saving = True
        # Not runner.save_checkpoint, which may be wrapped: peers need no files to resume.
        type(runner).save_checkpoint(
            runner,
            runner.work_dir,
            PREEMPTED,
            meta=meta,
            by_epoch=False,
            backend_args=dict(backend=SYNCED),
        )
        if is_main_process():
            note_last_checkpoint(runner, str(Path(runner.work_dir) / PREEMPTED))
        runner.logger.info(f'Stopped by a signal; --resume continues from {PREEMPTED}')


def _leave_group(initialise: Any, worker: int) -> None:
    """Start a worker of the data loader in a process group of its own."""
    if hasattr(os, 'setpgid'):
        os.setpgid(0, 0)
    if initialise is not None:
        initialise(worker)
