from abc import abstractmethod
from functools import partial
from pathlib import PurePosixPath
from typing import Any

from mmengine.dist import is_main_process
from mmengine.fileio import exists, join_path, remove
from mmengine.hooks import Hook
from mmengine.runner import save_checkpoint

from mmmuse.distillers import BaseDistiller

from .student_checkpoint import distiller_of

_SAVED = 'peer_checkpoints'  # Key in the message hub, which is saved for resumed runs.


class SideCheckpointHook(Hook):
    """Save parts of a distiller in files of their own with each checkpoint: a base class.

    Beside ``epoch_3.pth``, the file to resume from, which is written last, there is
    ``epoch_3.NAME.pth`` for each part. When a checkpoint is removed for a later one
    (``max_keep_ckpts``), the hook removes its files; when the user removed it, they are kept.
    """

    # After the hooks that average weights; before or after the one that splits them.
    priority = 'LOWEST'

    def __init__(self) -> None:
        self._path = ''
        self._backend_args: dict | None = None

    @abstractmethod
    def names(self, model: BaseDistiller | None) -> list[str]:
        """Return the names of the parts of a run's distiller; empty for other models."""

    @abstractmethod
    def parts(self, model: BaseDistiller, checkpoint: dict) -> dict[str, dict]:
        """Return the weights of each part of a checkpoint by name."""

    def meta(self, name: str) -> dict:
        """Return what is added to the ``meta`` of a part's file."""
        return {}

    def before_run(self, runner) -> None:
        """Wrap ``runner.save_checkpoint``: no hook receives the file's name."""
        if self.names(distiller_of(runner)) and not hasattr(runner.save_checkpoint, 'func'):
            runner.save_checkpoint = partial(self._save, runner, runner.save_checkpoint)

    def before_save_checkpoint(self, runner, checkpoint: dict) -> None:
        """Save the weights of each part, averaged ones with ``EMAHook``."""
        model = distiller_of(runner)
        if not self.names(model) or not self._path:
            return
        model.check_finite()
        for name, weights in self.parts(model, checkpoint).items():
            meta = dict(checkpoint['meta'], **self.meta(name))
            content = dict(meta=meta, state_dict=weights)
            save_checkpoint(content, side_file(self._path, name), backend_args=self._backend_args)

    def after_remove_checkpoint(self, runner, path: str) -> None:
        """Remove the files of the parts of a checkpoint that ``SafeCheckpointHook`` removed."""
        names = self.names(distiller_of(runner))
        if names:
            _remove_parts(path, names)
            saved = runner.message_hub.get_info(_SAVED, [])
            runner.message_hub.update_info(_SAVED, [old for old in saved if old != path])

    def _save(self, runner, save, out_dir: str, filename: str, *args: Any, **kwargs: Any) -> None:
        path = join_path(out_dir, filename)
        saved = [*runner.message_hub.get_info(_SAVED, []), path]
        saved = list(dict.fromkeys(saved))
        runner.message_hub.update_info(_SAVED, saved)
        self._path, self._backend_args = path, kwargs.get('backend_args')
        try:
            save(out_dir, filename, *args, **kwargs)
        finally:
            self._path = ''
        if not is_main_process():
            return
        removed = [old for old in saved if old != path and not exists(old)]
        kept = runner.message_hub.get_info('keep_ckpt_ids', [])
        for old in removed:
            if _was_rotated(old, path, kept):
                _remove_parts(old, self.names(distiller_of(runner)))
        runner.message_hub.update_info(_SAVED, [old for old in saved if old not in removed])


def _remove_parts(path: str, names: list[str]) -> None:
    for name in names:
        if exists(side_file(path, name)):
            remove(side_file(path, name))


def _was_rotated(old: str, path: str, kept: list[int]) -> bool:
    """Return whether MMEngine, not the user, removed a checkpoint when it saved this one."""
    old, path = PurePosixPath(old).stem, PurePosixPath(path).stem
    if old.startswith('best_') or path.startswith('best_'):
        return old.startswith('best_') and path.startswith('best_')
    number = old.rpartition('_')[2]
    return bool(kept) and number.isdigit() and int(number) not in kept


def side_file(path: str, name: str) -> str:
    """Return the file of a part for a checkpoint: ``epoch_3.a.pth`` for ``epoch_3.pth``."""
    suffix = PurePosixPath(path).suffix
    return f'{path.removesuffix(suffix)}.{name}{suffix}'
