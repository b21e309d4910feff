from functools import partial
from pathlib import PurePosixPath
from typing import Any

from mmengine.dist import is_main_process
from mmengine.fileio import exists, join_path, remove
from mmengine.hooks import Hook
from mmengine.runner import save_checkpoint

from mmmuse.checkpoints.state_dicts import DISTILLER_KEY, with_plain_names
from mmmuse.distillers import OnlineDistiller
from mmmuse.registry import HOOKS

from .student_checkpoint import distiller_of

_SAVED = 'peer_checkpoints'  # Key in the message hub, which is saved for resumed runs.


@HOOKS.register_module()
class PeerCheckpointHook(Hook):
    """Save every peer of an ``OnlineDistiller`` in a separate file with each checkpoint.

    ``epoch_3.a.pth`` has the weights of peer a under its own names, as a plain config loads them;
    ``epoch_3.pth`` has everything, is the file to resume from, and is written last. When a
    checkpoint is removed for a later one (``max_keep_ckpts``), the hook removes its peers' files;
    when the user removed it, they are kept. The hook has no effect on other models.
    ``mmmuse train`` adds it.
    """

    # After the hooks that average weights; before or after the one that splits them.
    priority = 'LOWEST'

    def __init__(self) -> None:
        self._path = ''
        self._backend_args: dict | None = None

    def before_run(self, runner) -> None:
        """Wrap ``runner.save_checkpoint``: no hook receives the file's name."""
        if isinstance(distiller_of(runner), OnlineDistiller) and not hasattr(
            runner.save_checkpoint, 'func'
        ):
            runner.save_checkpoint = partial(self._save, runner, runner.save_checkpoint)

    def before_save_checkpoint(self, runner, checkpoint: dict) -> None:
        """Save the weights of each peer, averaged ones with ``EMAHook``."""
        model = distiller_of(runner)
        if not isinstance(model, OnlineDistiller) or not self._path:
            return
        model.check_finite()
        first, *others = model.tapped
        student, rest = checkpoint['state_dict'], checkpoint.get(DISTILLER_KEY)
        if rest is None:
            student, rest = with_plain_names(student), student
        weights = {name: with_plain_names(rest, f'peers.{name}.') for name in others}
        for name, of_peer in {first: student, **weights}.items():
            content = dict(meta=dict(checkpoint['meta'], peer=name), state_dict=of_peer)
            save_checkpoint(content, peer_file(self._path, name), backend_args=self._backend_args)

    def after_remove_checkpoint(self, runner, path: str) -> None:
        """Remove the files of the peers of a checkpoint that ``SafeCheckpointHook`` removed."""
        model = distiller_of(runner)
        if isinstance(model, OnlineDistiller):
            _remove_peers(path, list(model.tapped))
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
                _remove_peers(old, list(distiller_of(runner).tapped))
        runner.message_hub.update_info(_SAVED, [old for old in saved if old not in removed])


def _remove_peers(path: str, names: list[str]) -> None:
    for name in names:
        if exists(peer_file(path, name)):
            remove(peer_file(path, name))


def _was_rotated(old: str, path: str, kept: list[int]) -> bool:
    """Return whether MMEngine, not the user, removed a checkpoint when it saved this one."""
    old, path = PurePosixPath(old).stem, PurePosixPath(path).stem
    if old.startswith('best_') or path.startswith('best_'):
        return old.startswith('best_') and path.startswith('best_')
    number = old.rpartition('_')[2]
    return bool(kept) and number.isdigit() and int(number) not in kept


def peer_file(path: str, name: str) -> str:
    """Return the file of a peer for a checkpoint: ``epoch_3.a.pth`` for ``epoch_3.pth``."""
    suffix = PurePosixPath(path).suffix
    return f'{path.removesuffix(suffix)}.{name}{suffix}'
