from collections.abc import Iterable
from pathlib import Path

from mmengine.dist import is_main_process
from mmengine.fileio import get_file_backend
from mmengine.hooks import CheckpointHook, Hook

from mmmuse.checkpoints.regular_file import why_no_file
from mmmuse.checkpoints.student_config import is_student_config, student_configs
from mmmuse.checkpoints.synced_write import SYNCED
from mmmuse.errors import InputError
from mmmuse.registry import HOOKS

_HEADER = 1024  # Bytes.


@HOOKS.register_module()
class StudentConfigHook(Hook):
    """Write the plain config of the student, ``student.py``, beside the checkpoints.

    With it, OpenMMLab's tools load the checkpoints without mmmuse. In online distillation there is one
    for each peer, ``student.NAME.py``, too. The files are written with the first checkpoint, into the
    work dir and, if the checkpoints are elsewhere, beside them. A network that is given as a built
    model, without a config, has no file. ``StudentCheckpointHook`` registers this hook. A file of such a
    name that no run has written is not replaced: the training is refused.
    """

    priority = 'LOWEST'

    def __init__(self) -> None:
        self._texts: dict[str, str] = {}  # Those that have not been written.

    def before_train(self, runner) -> None:
        """Make the files' texts, so that an error comes before the first step."""
        texts = student_configs(runner.cfg)
        _check_replaced(runner, texts)
        if not is_main_process():
            return
        self._texts = texts
        if not self._texts:
            runner.logger.warning('No student.py: the run has no config of the student.')

    def before_save_checkpoint(self, runner, checkpoint: dict) -> None:
        """Write the files, once in a process."""
        texts, self._texts = self._texts, {}
        folders = _folders(runner) if texts else {}
        for folder, options in folders.items():
            backend = get_file_backend(folder, backend_args=options)
            for name, text in texts.items():
                backend.put_text(text, backend.join_path(folder, name))


def _check_replaced(runner, names: Iterable[str]) -> None:
    """Check that no file of the user's own is replaced. Remote storage is not looked at.

    Raises:
        InputError: If one would be.
    """
    own = Path(runner.cfg.filename or '').name
    for name in names:
        if name == own:
            raise InputError(
                f"the run writes the student's plain config as {own}, and its own config has that name: rename "
                'the config'
            )
        for folder in _folders(runner):
            if '://' not in folder and not _is_replaceable(Path(folder) / name):
                raise InputError(
                    f"the run would write the student's plain config over {Path(folder) / name}, which no run has "
                    'written: move it, or use another work dir'
                )


def _is_replaceable(path: Path) -> bool:
    if why_no_file(path) is not None:
        return True
    with path.open('rb') as file:
        return is_student_config(file.read(_HEADER))


def _folders(runner) -> dict[str, dict | None]:
    """Return the folders with checkpoints, and the arguments of their file backends."""
    folders: dict[str, dict | None] = {runner.work_dir: dict(backend=SYNCED)}
    for hook in runner.hooks:
        if isinstance(hook, CheckpointHook) and getattr(hook, 'out_dir', None):
            folders.setdefault(str(hook.out_dir), hook.backend_args)
    return folders
