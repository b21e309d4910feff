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

_SAVED = 'peer_checkpoints'  # In the message hub, so that a resumed run knows them.


@HOOKS.register_module()
class PeerCheckpointHook(Hook):
    """Beside each checkpoint of networks trained together, save every peer in a file of its own.

    ``epoch_3.a.pth`` holds peer a's weights under its own names, as a plain config
    loads them; to go on training, ``epoch_3.pth`` has everything. A peer's files go
    when MMEngine removes the checkpoint beside them (``max_keep_ckpts``); where a person
    has removed it, they stay. Other models are left alone. ``tools/train.py`` adds this hook by itself.
    """

    # Behind the hooks that average weights; the one that splits them may come before or after.
    priority = 'LOWEST'

    def __init__(self) -> None:
        self._weights: dict[str, dict] = {}
        self._meta: dict = {}

    def before_run(self, runner) -> None:
        """Follow the runner's saving, which alone knows the files' names."""
        if isinstance(distiller_of(runner), OnlineDistiller) and not hasattr(
            runner.save_checkpoint, 'func'
        ):
            runner.save_checkpoint = partial(self._save, runner, runner.save_checkpoint)

    def before_save_checkpoint(self, runner, checkpoint: dict) -> None:
        """Note the weights of each peer, averaged ones with ``EMAHook``."""
        model = distiller_of(runner)
        if not isinstance(model, OnlineDistiller):
            return
        first, *others = model.tapped
        student, rest = checkpoint['state_dict'], checkpoint.get(DISTILLER_KEY)
        if rest is None:
            student, rest = with_plain_names(student), student
        self._meta = checkpoint['meta']
        self._weights = {name: with_plain_names(rest, f'peers.{name}.') for name in others}
        self._weights[first] = student

    def _save(self, runner, save, out_dir: str, filename: str, *args: Any, **kwargs: Any) -> None:
        path = join_path(out_dir, filename)
        saved = [*runner.message_hub.get_info(_SAVED, []), path]
        saved = list(dict.fromkeys(saved))
        runner.message_hub.update_info(_SAVED, saved)
        save(out_dir, filename, *args, **kwargs)
        weights, self._weights = self._weights, {}
        if not is_main_process():
            return
        for name, of_peer in weights.items():
            meta = dict(self._meta, peer=name)
            save_checkpoint(dict(meta=meta, state_dict=of_peer), peer_file(path, name))
        gone = [old for old in saved if old != path and not exists(old)]
        kept = runner.message_hub.get_info('keep_ckpt_ids', [])
        for old in gone:
            for name in weights if _was_rotated(old, path, kept) else ():
                if exists(peer_file(old, name)):
                    remove(peer_file(old, name))
        runner.message_hub.update_info(_SAVED, [old for old in saved if old not in gone])


def _was_rotated(old: str, path: str, kept: list[int]) -> bool:
    """Say whether MMEngine has removed a checkpoint, to save this one, and not a person."""
    old, path = PurePosixPath(old).stem, PurePosixPath(path).stem
    if old.startswith('best_') or path.startswith('best_'):
        return old.startswith('best_') and path.startswith('best_')
    number = old.rpartition('_')[2]
    return bool(kept) and number.isdigit() and int(number) not in kept


def peer_file(path: str, name: str) -> str:
    """Return the file of a peer beside a checkpoint: ``epoch_3.a.pth`` beside ``epoch_3.pth``."""
    suffix = PurePosixPath(path).suffix
    return f'{path.removesuffix(suffix)}.{name}{suffix}'
