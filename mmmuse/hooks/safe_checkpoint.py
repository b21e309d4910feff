"""Checkpoints that are complete at every moment."""

from pathlib import Path
from typing import Any
from uuid import uuid4

from mmengine.dist import is_main_process
from mmengine.fileio import LocalBackend, get_file_backend
from mmengine.hooks import CheckpointHook

from mmmuse.checkpoints.synced_write import SYNCED, remove_unfinished, write_synced
from mmmuse.registry import HOOKS

from .accumulated_gradients import share_gradients
from .shared_buffers import share_buffers

# In the message hub, and so in the checkpoint: the files that are removed once it is written.
_OUTDATED = 'outdated_checkpoints'
PREEMPTED = 'preempted.pth'  # Of PreemptionHook, in the work dir.
RUN_ID = 'run_id'  # In the message hub: the same in all checkpoints of a run, however often it is resumed.


@HOOKS.register_module()
class SafeCheckpointHook(CheckpointHook):
    """MMEngine's ``CheckpointHook``, whose run can be resumed whenever it is killed.

    A checkpoint and ``last_checkpoint`` are written beside their place, synced and renamed; the
    checkpoint before (``max_keep_ckpts``) and the best one before are removed afterwards. Files that
    a killed process could not finish or remove are removed at the next start. ``mmmuse train``
    replaces MMEngine's hook by this one. Each checkpoint has the id of its run, so that ``--resume`` does not
    go on from those of a run that was in the folder before. Other file backends than the local one keep MMEngine's way.

    Of several processes the first one's buffers, which are those in the file, are sent to all when a
    checkpoint is saved, and accumulated gradients are averaged, so that an uninterrupted run and a
    resumed one have the same.

    Args:
        *args: Those of MMEngine's ``CheckpointHook``.
        **kwargs: Those of MMEngine's ``CheckpointHook``.
    """

    _local = False
    _best_before: dict[str, str | None] = {}

    def before_train(self, runner) -> None:
        """Choose the backend; remove what a killed process left."""
        own = self._resumes_own_run(runner)
        if runner._resume and not own:
            runner.message_hub.update_info_dict({'keep_ckpt_ids': [], _OUTDATED: []})
        if not (runner._resume and own):
            runner.message_hub.update_info(RUN_ID, uuid4().hex)
        super().before_train(runner)
        self._local = self.file_client_args is None and isinstance(self.file_backend, LocalBackend)
        if not self._local:
            return
        self.backend_args = dict(backend=SYNCED)
        self.file_backend = get_file_backend(self.out_dir, backend_args=self.backend_args)
        if runner._resume and own:
            self._restore_paths(runner)
        elif runner._resume:
            self._set_best(dict.fromkeys(self._best()))  # The other run keeps its own.
        if is_main_process():
            for folder in {str(self.out_dir), runner.work_dir}:
                remove_unfinished(folder)
        self._remove_outdated(runner)

    def _resumes_own_run(self, runner) -> bool:
        """Return whether a resumed checkpoint is in a folder into which this run saves."""
        if runner._load_from is None:
            return True
        work_dir = Path(runner.work_dir)  # With an out_dir too, for a preempted step.
        folders = {work_dir, Path(self.out_dir or work_dir.parent) / work_dir.name}
        return Path(runner._load_from).resolve().parent in {path.resolve() for path in folders}

    def _restore_paths(self, runner) -> None:
        """Look for the files of a resumed run in its own folder, which may have been moved."""
        hub = runner.message_hub
        if runner._load_from and is_main_process():
            # The run may have been killed after it saved the file and before it noted it.
            note_last_checkpoint(runner, str(runner._load_from))
        self.last_ckpt = self._in_own_folder(runner, hub.get_info('last_ckpt', None))
        hub.update_info(
            _OUTDATED, [self._in_own_folder(runner, p) for p in hub.get_info(_OUTDATED, [])]
        )
        self._set_best(
            {key: self._in_own_folder(runner, path) for key, path in self._best().items()}
        )

    def _in_own_folder(self, runner, path: str | None) -> str | None:
        folder = runner.work_dir if path and Path(path).name == PREEMPTED else self.out_dir
        return path and self.file_backend.join_path(folder, Path(path).name)

    def _best(self) -> dict[str, str | None]:
        """Return the path of the best checkpoint of each metric."""
        if hasattr(self, 'best_ckpt_path_dict'):
            return dict(self.best_ckpt_path_dict)
        return {'': self.best_ckpt_path} if hasattr(self, 'best_ckpt_path') else {}

    def _set_best(self, paths: dict[str, str | None]) -> None:
        if hasattr(self, 'best_ckpt_path_dict'):
            self.best_ckpt_path_dict.update(paths)
        elif paths:
            self.best_ckpt_path = paths['']

    def _save_best_checkpoint(self, runner, metrics: dict[str, Any]) -> None:
        if not self._local or not self.save_best:
            super()._save_best_checkpoint(runner, metrics)
            return
        self._best_before = self._best()
        # MMEngine removes the file before it writes the next one, unless it knows of none.
        self._set_best(dict.fromkeys(self._best_before))
        super()._save_best_checkpoint(runner, metrics)
        self._note_outdated_best(runner)
        kept = {key: path or self._best_before[key] for key, path in self._best().items()}
        self._set_best(kept)
        self._best_before = {}
        self._remove_outdated(runner)

    def _note_outdated_best(self, runner) -> None:
        new = self._best()
        before = self._best_before.items()
        outdated = [path for key, path in before if path and new[key] not in (None, path)]
        note_outdated(runner, outdated)

    def _save_checkpoint_with_step(self, runner, step: int, meta: dict) -> None:
        share_buffers(runner)
        share_gradients(runner)
        if not self._local:
            super()._save_checkpoint_with_step(runner, step, meta)
            return
        name = self.filename_tmpl.format(step)
        self.last_ckpt = self.file_backend.join_path(self.out_dir, name)
        runner.message_hub.update_info('last_ckpt', self.last_ckpt)
        self._rotate(runner, step)
        self._note_outdated_best(runner)
        runner.save_checkpoint(
            self.out_dir,
            name,
            save_optimizer=self.save_optimizer,
            save_param_scheduler=self.save_param_scheduler,
            meta=meta,
            by_epoch=self.by_epoch,
            backend_args=self.backend_args,
            **self.args,
        )
        if is_main_process():
            note_last_checkpoint(runner, self.last_ckpt)
        self._remove_outdated(runner)

    def _rotate(self, runner, step: int) -> None:
        """Note the checkpoint that ``max_keep_ckpts`` no longer keeps."""
        if self.max_keep_ckpts <= 0 or (self.keep_ckpt_ids and self.keep_ckpt_ids[-1] == step):
            return
        if len(self.keep_ckpt_ids) == self.max_keep_ckpts:
            name = self.filename_tmpl.format(self.keep_ckpt_ids.popleft())
            note_outdated(runner, [self.file_backend.join_path(self.out_dir, name)])
        self.keep_ckpt_ids.append(step)
        runner.message_hub.update_info('keep_ckpt_ids', list(self.keep_ckpt_ids))

    def _remove_outdated(self, runner) -> None:
        in_use = {self.last_ckpt, *self._best().values()}
        for path in runner.message_hub.get_info(_OUTDATED, []):
            if path in in_use or not is_main_process():
                continue
            if self.file_backend.isfile(path):
                self.file_backend.remove(path)
            # Not one of MMEngine's hook points: for the files that belong to a checkpoint.
            runner.call_hook('after_remove_checkpoint', path=path)
        runner.message_hub.update_info(_OUTDATED, [])


def note_last_checkpoint(runner, path: str) -> None:
    """Name a checkpoint as the one to resume from, in MMEngine's file."""
    note = Path(runner.work_dir) / 'last_checkpoint'
    if not note.is_file() or note.read_bytes() != path.encode():
        write_synced(note, path.encode())


def note_outdated(runner, paths: list[str]) -> None:
    """Let ``SafeCheckpointHook`` remove files when the next checkpoint is written."""
    known = runner.message_hub.get_info(_OUTDATED, [])
    runner.message_hub.update_info(_OUTDATED, list(dict.fromkeys([*known, *paths])))
