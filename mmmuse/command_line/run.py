"""Build and run an MMEngine runner; remove the files of a run without a finished step."""

import gc
import logging
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext, suppress
from pathlib import Path
from typing import Any

import torch
from mmengine.config import Config
from mmengine.dist import is_main_process
from mmengine.hooks import CheckpointHook, Hook
from mmengine.logging import MMLogger
from mmengine.registry import RUNNERS
from mmengine.runner import EpochBasedTrainLoop, Runner

from mmmuse.errors import ArgumentError, InputError, Stopped
from mmmuse.hooks import (
    AccumulatedGradientsHook,
    BackboneCheckpointHook,
    CheckedCheckpointHook,
    ClassCountHook,
    KeptMemoryHook,
    PeerCheckpointHook,
    PendingEvaluationHook,
    SafeCheckpointHook,
    SpreadRepeatsHook,
    StepSeedHook,
    StudentCheckpointHook,
    TrainingLabelsHook,
)
from mmmuse.hooks.early_stopping import keep_early_stopping
from mmmuse.hooks.parts_by_name import check_parts_by_name
from mmmuse.hooks.runner_kind import check_runner
from mmmuse.hooks.student_checkpoint import distiller_of, unwrapped
from mmmuse.optim.student_constructor import for_student
from mmmuse.tapping.dry_run import is_segmenter
from mmmuse.tapping.image_size import add_image_shape

from .config_layout import laid_out_once
from .noise import silence_logger
from .parts import check_multipliers, path_in
from .replaced_config import check_replaced_config, dumped_path
from .run_notes import errors_noted, note_start
from .signals import stop_if_received

_ENDS_WITHOUT_THE_GIL = torch.__version__ >= '2.11'  # Versions 2.5 to 2.10 were not tried.


class _Steps(Hook):
    """Counts finished iterations of any kind, and knows whether the present one is the first."""

    priority = 'LOWEST'
    done = 0
    evaluated = False
    _evaluating = False

    @property
    def is_first(self) -> bool:
        """Whether nothing has shown yet that the config works, in training or in evaluation."""
        return self.done == 0 or (self._evaluating and not self.evaluated)

    def before_val_epoch(self, *args: Any, **kwargs: Any) -> None:
        self._evaluating = True

    def after_val_epoch(self, *args: Any, **kwargs: Any) -> None:
        self._evaluating, self.evaluated = False, True

    def after_train_iter(self, *args: Any, **kwargs: Any) -> None:
        self.done += 1
        stop_if_received()

    after_test_iter = after_train_iter

    def after_val_iter(self, *args: Any, **kwargs: Any) -> None:
        stop_if_received()


def run(
    config: Config,
    act: Callable[[Runner], Any],
    resume_from: str | None = None,
    keeps_config: bool = False,
) -> Any:
    """Build the config's runner and call ``act``; remove its files on an error before the first step.

    Args:
        config: The config.
        act: ``Runner.train``, or a function that tests.
        resume_from: Checkpoint that a resumed run without ``load_from`` loads.
        keeps_config: Leave the config of an earlier run in the work dir as it is.

    Returns:
        The result of ``act``.
    """
    if 'model' not in config:
        raise InputError('the config has no model')
    if not keeps_config:
        check_replaced_config(config)
    if config.launcher in ('slurm', 'mpi') and not torch.cuda.is_available():
        raise InputError(
            f'--launcher {config.launcher} gives each process a GPU, and this machine has none; '
            '--launcher pytorch (tools/dist_train.sh) also trains on processors'
        )
    if config.launcher == 'pytorch' and not torch.cuda.is_available():
        # MMEngine's start of a process group needs a GPU.
        torch.distributed.init_process_group('gloo')
    add_image_shape(config)
    # A log that cannot be written (a full disk) is not worth a traceback for each line: the run ends,
    # with one line, where a file of it cannot be written.
    logging.raiseExceptions = False
    steps = _Steps()
    with (
        _discarded_unless(lambda error: _has_results(steps, error), config),
        _explainable(steps, config),
        laid_out_once(),
        _config_kept(config) if keeps_config else nullcontext(),
    ):
        runner = RUNNERS.build(config) if 'runner_type' in config else Runner.from_cfg(config)
        if resume_from is not None:
            runner._load_from = resume_from
        silence_logger(runner.logger)
        runner.register_hook(steps)
        note_start(runner.logger)
        with errors_noted(runner.logger):
            add_missing_hooks(runner)
            return act(runner)


def end_process_group() -> None:
    """End the process group of a run that several processes share; without one, do nothing.

    Otherwise PyTorch's threads can abort a process at its exit, and torchrun reports a complete run as failed.
    Where PyTorch holds the GIL while it does this (2.4 does), it can wait for such a thread for ever instead: there the
    group is left to the exit.
    """
    distributed = torch.distributed
    if distributed.is_available() and distributed.is_initialized() and _ENDS_WITHOUT_THE_GIL:
        distributed.barrier()
        gc.collect()  # A wrapped model that is still there would hold the group.
        distributed.destroy_process_group()


@contextmanager
def _explainable(steps: _Steps, config: Config) -> Iterator[None]:
    """Mark an error in the first step, and add its path in the config to a refused argument."""
    try:
        yield
    except ArgumentError as error:
        path = path_in(config._cfg_dict, error)
        if path is None:
            raise
        raise InputError(f'{path} is {error.fault}') from error
    except Exception as error:
        error.in_first_step = steps.is_first
        raise


def add_missing_hooks(runner: Runner) -> None:
    """Add the hooks that a run, a distiller or a detector needs and the config lacks.

    ``mmmuse train`` and ``test`` call it. In a program of one's own, call it before
    ``runner.train()``, for checkpoints that are always complete and for exact resume.

    Raises:
        InputError: If there are two hooks that save checkpoints, or a distiller has another runner than MMEngine's
            ``Runner``.
    """
    saving = [hook for hook in runner.hooks if isinstance(hook, CheckpointHook)]
    if len(saving) > 1:
        raise InputError(
            f'the config has {len(saving)} checkpoint hooks: change default_hooks.checkpoint instead '
            'of adding another one to custom_hooks'
        )
    for hook in saving:
        if type(hook) is CheckpointHook and isinstance(runner, Runner):
            hook.__class__ = SafeCheckpointHook
    check_runner(runner)
    distiller = distiller_of(runner)
    if distiller:
        check_parts_by_name(runner, distiller)
        runner.optim_wrapper = for_student(runner.optim_wrapper, distiller)
    needed = [StepSeedHook, AccumulatedGradientsHook, PendingEvaluationHook, KeptMemoryHook]
    if distiller:
        needed += [StudentCheckpointHook, PeerCheckpointHook, BackboneCheckpointHook]
        needed += [TrainingLabelsHook, SpreadRepeatsHook]
    else:
        needed.append(CheckedCheckpointHook)
    needed.append(ClassCountHook)
    network = distiller.student if distiller else unwrapped(runner.model)
    if is_segmenter(network):
        from mmmuse.segmentation import CheckedMasksHook  # Needs mmseg.

        needed.append(CheckedMasksHook)
    for kind in needed:
        if not any(isinstance(hook, kind) for hook in runner.hooks):
            runner.register_hook(kind())
    keep_early_stopping(runner)


def train(runner: Runner) -> None:
    """Train, if the last batch of an epoch is large enough for a distiller's losses.

    Raises:
        InputError: If it is too small, or if a multiplier of the learning rate is ignored.
    """
    check_multipliers(runner.cfg)
    model = distiller_of(runner)
    # In an iteration-based loop the sampler may be infinite, without a last batch.
    if model is not None and isinstance(runner.train_loop, EpochBasedTrainLoop):
        loader = runner.train_loop.dataloader
        batches = loader.batch_sampler  # The config's own in mmdet.
        left_over = len(loader.sampler) % (getattr(batches, 'batch_size', None) or 1)
        if 0 < left_over < model.min_batch_size and not getattr(batches, 'drop_last', True):
            own = loader.batch_size is None
            raise InputError(
                f'the last batch of an epoch has {left_over} image(s), and a batch needs at '
                f'least {model.min_batch_size}: set train_dataloader.'
                f'{"batch_sampler." if own else ""}drop_last=True'
            )
    runner.train()


def _has_results(steps: _Steps, error: BaseException) -> bool:
    """Return whether a run that ended in an error leaves a log or a checkpoint of use."""
    # PreemptionHook ends a run after a step or an evaluation before that is counted.
    finished = isinstance(error, Stopped) and error.finished
    return steps.done > 0 or steps.evaluated or finished


@contextmanager
def _discarded_unless(kept: Callable[[BaseException], bool], config: Config) -> Iterator[None]:
    """Remove a run's files from its work dir if it ends in an error and is not to be kept."""
    work_dir = Path(config.work_dir)
    missing = [folder for folder in (work_dir, *work_dir.parents) if not folder.exists()]
    dumped = dumped_path(config)
    dumped_before = dumped.read_bytes() if dumped.is_file() else None
    folders_before = _folders(work_dir)
    try:
        yield
    except BaseException as error:
        if not kept(error) and is_main_process():
            with suppress(OSError):  # The folder may be gone or read-only.
                _discard(work_dir, _folders(work_dir) - folders_before, dumped_before, dumped)
                for folder in missing:
                    if folder.is_dir() and not any(folder.iterdir()):
                        folder.rmdir()
        raise


@contextmanager
def _config_kept(config: Config) -> Iterator[None]:
    """Do not let MMEngine write the config of a run into its work dir where there is one."""
    kind = RUNNERS.get(config.get('runner_type', 'Runner'))
    if kind is None or not dumped_path(config).exists():
        yield
        return
    own = vars(kind).get('dump_config')
    kind.dump_config = lambda runner: None
    try:
        yield
    finally:
        if own is None:
            del kind.dump_config
        else:
            kind.dump_config = own


def _discard(work_dir: Path, folders: set[Path], dumped_before: bytes | None, dumped: Path) -> None:
    """Remove a run's logs and restore the config that was there before."""
    logged_into = _log_folders()
    for folder in folders:
        if folder in logged_into or not any(path.is_file() for path in folder.rglob('*')):
            shutil.rmtree(folder)
    if dumped_before is not None:
        dumped.write_bytes(dumped_before)
    elif work_dir.is_dir():
        dumped.unlink(missing_ok=True)


def _folders(work_dir: Path) -> set[Path]:
    if not work_dir.is_dir():
        return set()
    return {path for path in work_dir.resolve().iterdir() if path.is_dir()}


def _log_folders() -> set[Path]:
    """Return the folders that this process logs into."""
    return {
        Path(handler.baseFilename).resolve().parent
        for logger in MMLogger._instance_dict.values()
        for handler in logger.handlers
        if isinstance(handler, logging.FileHandler)
    }
