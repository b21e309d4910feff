from mmengine.dist import get_rank
from mmengine.hooks import Hook
from mmengine.runner import EpochBasedTrainLoop

from mmmuse.registry import HOOKS
from mmmuse.samplers.numbered_batches import NumberedBatches
from mmmuse.samplers.seeding import seed_generators

BATCHES_DONE = 'batches_done'  # In a checkpoint's meta: of the epoch in which it was saved.
_BATCHES = 'batches_per_epoch'
_SAMPLER_SEED = 'sampler_seed'
_EPOCH, _STEP, _EVALUATION = range(2, 5)  # What is drawn; see NumberedBatches for others.


@HOOKS.register_module()
class StepSeedHook(Hook):
    """Make everything that is drawn in a step depend on (seed, step) only, so that resume is exact.

    Before each step and each evaluation the generators of Python, NumPy, PyTorch and its accelerator
    are seeded; so are those that read a batch, in the workers of the data loader as well
    (:class:`mmmuse.samplers.numbered_batches.NumberedBatches`). What a resumed run draws does not
    depend on what was drawn before, and the checkpoint needs no random states. As in MMEngine,
    processes draw the same numbers in a step, unless ``randomness.diff_rank_seed`` is set.

    A checkpoint that was saved within an epoch (by ``PreemptionHook``, or by a checkpoint hook with
    ``by_epoch=False``) continues with the next batch of that epoch, and hooks are given that batch's
    number (``PSKDDistiller`` is an exception). If an epoch now has another number of batches, it
    starts again.

    ``mmmuse train`` adds this hook.
    """

    priority = 'VERY_HIGH'

    def __init__(self) -> None:
        self._meta: dict = {}
        self._batches: NumberedBatches | None = None
        self._done = 0  # Batches of the present epoch.
        self._is_shifted = False  # Whether the loop's numbers of batches are changed.

    def before_save_checkpoint(self, runner, checkpoint: dict) -> None:
        """Save the seed of the sampler, which may have been drawn, and the place within an epoch."""
        if not hasattr(runner.train_loop, 'dataloader'):  # A loop of the user.
            return
        seed = getattr(_sampler(runner), 'seed', None)
        if isinstance(seed, int):
            checkpoint['meta'][_SAMPLER_SEED] = seed
        if isinstance(runner.train_loop, EpochBasedTrainLoop):
            checkpoint['meta'][_BATCHES] = len(runner.train_dataloader)
            if self._done:
                checkpoint['meta'][BATCHES_DONE] = self._done

    def after_load_checkpoint(self, runner, checkpoint: dict) -> None:
        """Restore the seed of the sampler."""
        if not runner._resume or not hasattr(runner.train_loop, 'dataloader'):
            return
        self._meta = checkpoint.get('meta', {})
        if _SAMPLER_SEED in self._meta and hasattr(_sampler(runner), 'seed'):
            _sampler(runner).seed = self._meta[_SAMPLER_SEED]

    def before_train(self, runner) -> None:
        """Number the batches of the data loader."""
        loader = getattr(runner.train_loop, 'dataloader', None)
        if loader is None:
            return
        if isinstance(loader.batch_sampler, NumberedBatches):
            self._batches = loader.batch_sampler
        elif NumberedBatches.fit(loader):
            self._batches = NumberedBatches(loader, _seed(runner), get_rank())

    def before_train_epoch(self, runner) -> None:
        """Seed the generators for what is drawn at the start of an epoch."""
        seed_generators(_seed(runner), _EPOCH, runner.epoch)
        if self._batches is None:
            return
        if isinstance(runner.train_loop, EpochBasedTrainLoop):
            done = self._batches_done(runner)
            self._batches.start(runner.epoch, skip=done)
            self._count_from(runner.train_loop, done)
            if done == len(runner.train_dataloader):
                # As after the last step of the epoch; MMEngine sets it at the start of a step.
                runner.message_hub.update_info('iter', runner.iter - 1)
        else:
            # MMEngine's loop goes through the batches that were done, or moves the sampler.
            moved = _sampler_skips(runner.train_loop)
            self._batches.start(0, number=runner.iter if moved else 0)

    def before_train_iter(self, runner, batch_idx: int, data_batch=None) -> None:
        """Seed the generators for a step."""
        seed_generators(_seed(runner), _STEP, runner.iter)

    def after_train_iter(self, runner, batch_idx: int, data_batch=None, outputs=None) -> None:
        """Count the batches of an epoch."""
        self._done = batch_idx + 1

    def after_train_epoch(self, runner) -> None:
        """Reset the count of batches."""
        self._done = 0

    def before_val_epoch(self, runner) -> None:
        """Seed the generators for an evaluation."""
        seed_generators(_seed(runner), _EVALUATION, runner.iter)

    def _batches_done(self, runner) -> int:
        """Return the number of batches of this epoch that a resumed checkpoint had seen."""
        meta, self._meta = self._meta, {}
        done, batches = meta.get(BATCHES_DONE, 0), len(runner.train_dataloader)
        if done and (meta.get(_BATCHES) != batches or done not in range(1, batches + 1)):
            runner.logger.warning(
                f'The checkpoint was saved after {done} of {meta.get(_BATCHES)} batches of an epoch, '
                f'and an epoch of this run has {batches}: the epoch starts again.'
            )
            done = 0
        # MMEngine expects the last update, which may have fewer accumulated steps, as if all epochs had
        # this number of batches.
        end = runner.iter + (runner.max_epochs - runner.epoch) * batches - done
        if end != runner.max_iters:
            runner.optim_wrapper.initialize_count_status(runner.model, runner.iter, end)
        return done

    def _count_from(self, loop, done: int) -> None:
        """Let a loop add the batches that are done to the numbers that it gives to hooks."""
        if self._is_shifted:
            del loop.run_iter
        self._is_shifted = done > 0
        if done:
            run_iter = loop.run_iter
            loop.run_iter = lambda idx, data_batch: run_iter(idx + done, data_batch)


def _seed(runner) -> int:
    return (runner.seed or 0) % 2**64


def _sampler(runner):
    loader = runner.train_loop.dataloader
    if hasattr(loader.sampler, 'seed'):
        return loader.sampler
    return getattr(loader.batch_sampler, 'sampler', loader.sampler)


def _sampler_skips(loop) -> bool:
    """Return whether MMEngine's iteration-based loop resumes by moving the sampler."""
    batches = getattr(loop, 'dataloader_iterator', None)
    if getattr(loop, 'fast_forward_on_resume', False):
        return True
    if not hasattr(batches, '_resolve_sampler'):  # Before MMEngine 0.10.12.
        return False
    return bool(batches._resolve_batch_size()) and batches._resolve_sampler() is not None
