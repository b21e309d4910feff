from functools import partial
from pathlib import PurePosixPath
from typing import Any

from mmengine.dist import is_main_process
from mmengine.fileio import exists, join_path, remove
from mmengine.hooks import Hook
from mmengine.runner import save_checkpoint

from mmmuse.distillers import OnlineDistiller
from mmmuse.registry import HOOKS
from mmmuse.student_weights import with_plain_names

from .student_checkpoint import distiller_of

_SAVED = 'peer_checkpoints'  # In the message hub, so that a resumed run knows them.


@HOOKS.register_module()
class PeerCheckpointHook(Hook):
    """Beside each checkpoint of networks trained together, save every peer in a file of its own.

    ``epoch_3.a.pth`` holds peer a's weights under its own names, as a plain config
    loads them; to go on training, ``epoch_3.pth`` has everything. A peer's files go
    when the checkpoint beside them has gone (``max_keep_ckpts``). Other models are
    left alone. ``tools/train.py`` adds this hook by itself.
    """

    # Behind the hook that splits the weights, which is of the same priority and comes first.
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
        weights = {**checkpoint.get('distiller', {}), **checkpoint['state_dict']}
        self._meta = checkpoint['meta']
        self._weights = {name: with_plain_names(weights, f'peers.{name}.') for name in others}
        if any(
            name.startswith('student.') for name in weights
        ):  # Not split: saved as MMEngine does.
            self._weights[first] = with_plain_names(weights)
        else:
            self._weights[first] = checkpoint['state_dict']

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
            save_checkpoint(dict(meta=self._meta, state_dict=of_peer), peer_file(path, name))
        gone = [old for old in saved if old != path and not exists(old)]
        for old in gone:
            for name in weights:
                if exists(peer_file(old, name)):
                    remove(peer_file(old, name))
        runner.message_hub.update_info(_SAVED, [old for old in saved if old not in gone])


def peer_file(path: str, name: str) -> str:
    """Return the file of a peer beside a checkpoint: ``epoch_3.a.pth`` beside ``epoch_3.pth``."""
    suffix = PurePosixPath(path).suffix
    return f'{path.removesuffix(suffix)}.{name}{suffix}'
